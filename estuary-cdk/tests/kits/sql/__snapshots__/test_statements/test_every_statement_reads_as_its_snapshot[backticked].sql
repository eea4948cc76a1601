-- create table
CREATE TABLE `main`.`say "hi"; DROP TABLE ``x`` --` (
    `id` BIGINT NOT NULL,
    `Select` TEXT NOT NULL,
    `say "hi"; DROP TABLE ``x`` --` TEXT,
    PRIMARY KEY (`id`, `Select`)
) CHARACTER SET=utf8mb4;

-- create table without a key
CREATE TABLE `main`.`say "hi"; DROP TABLE ``x`` --` (
    `id` BIGINT NOT NULL,
    `Select` TEXT NOT NULL,
    `say "hi"; DROP TABLE ``x`` --` TEXT
) CHARACTER SET=utf8mb4;

-- drop table
DROP TABLE `main`.`say "hi"; DROP TABLE ``x`` --`;

-- delete all
DELETE FROM `main`.`say "hi"; DROP TABLE ``x`` --`;

-- add column
ALTER TABLE `main`.`say "hi"; DROP TABLE ``x`` --` ADD COLUMN `say "hi"; DROP TABLE ``x`` --` TEXT;

-- drop column
ALTER TABLE `main`.`say "hi"; DROP TABLE ``x`` --` DROP COLUMN `say "hi"; DROP TABLE ``x`` --`;

-- rename column
ALTER TABLE `main`.`say "hi"; DROP TABLE ``x`` --` RENAME COLUMN `say "hi"; DROP TABLE ``x`` --` TO `tame`;

-- rename table
ALTER TABLE `main`.`say "hi"; DROP TABLE ``x`` --` RENAME TO `tame`;

-- fill column
UPDATE `main`.`say "hi"; DROP TABLE ``x`` --` SET `say "hi"; DROP TABLE ``x`` --` = 1 + 1;

-- copy rows
INSERT INTO `b` (`say "hi"; DROP TABLE ``x`` --`) SELECT 1 + 1 FROM `main`.`say "hi"; DROP TABLE ``x`` --`;

-- insert
INSERT INTO `main`.`say "hi"; DROP TABLE ``x`` --` (`id`, `Select`, `naïve ☃`, `a``b"c'd`, `flow_document`) VALUES (%s, %s, %s, %s, %s);

-- insert two
INSERT INTO `main`.`say "hi"; DROP TABLE ``x`` --` (`id`, `Select`, `naïve ☃`, `a``b"c'd`, `flow_document`) VALUES (%s, %s, %s, %s, %s), (%s, %s, %s, %s, %s);

-- upsert
INSERT INTO `main`.`say "hi"; DROP TABLE ``x`` --` (`id`, `Select`, `naïve ☃`, `a``b"c'd`, `flow_document`) VALUES (%s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE `naïve ☃` = VALUES(`naïve ☃`), `a``b"c'd` = VALUES(`a``b"c'd`), `flow_document` = VALUES(`flow_document`);

-- update
UPDATE `main`.`say "hi"; DROP TABLE ``x`` --` SET `naïve ☃` = %s, `a``b"c'd` = %s, `flow_document` = %s WHERE `id` = %s AND `Select` = %s;

-- delete
DELETE FROM `main`.`say "hi"; DROP TABLE ``x`` --` WHERE `id` = %s AND `Select` = %s;

-- load
WITH wanted (k0, k1) AS (VALUES (%s, %s), (%s, %s)) SELECT t.`flow_document` FROM wanted JOIN `main`.`say "hi"; DROP TABLE ``x`` --` AS t ON t.`id` = wanted.k0 AND t.`Select` = wanted.k1;

-- create staging
CREATE TEMPORARY TABLE `flow_keys_0` (`id` BIGINT NOT NULL, `Select` TEXT NOT NULL);

-- stage key
INSERT INTO `flow_keys_0` VALUES (%s, %s);

-- load staged
SELECT t.`flow_document` FROM `flow_keys_0` JOIN `main`.`say "hi"; DROP TABLE ``x`` --` AS t ON t.`id` = `flow_keys_0`.`id` AND t.`Select` = `flow_keys_0`.`Select`;

-- create checkpoints
CREATE TABLE IF NOT EXISTS `a.b`.`flow_checkpoints_v1` (
    `materialization` VARCHAR(256) NOT NULL,
    `key_begin` BIGINT NOT NULL,
    `key_end` BIGINT NOT NULL,
    `fence` BIGINT NOT NULL,
    `checkpoint` TEXT NOT NULL,
    PRIMARY KEY (`materialization`, `key_begin`, `key_end`)
) CHARACTER SET=utf8mb4;

-- bump fences
UPDATE `flow_checkpoints_v1` SET `fence` = `fence` + 1 WHERE `materialization` = %s AND `key_begin` <= %s AND `key_end` >= %s;

-- find fence
SELECT `key_begin`, `key_end`, `fence`, `checkpoint` FROM `flow_checkpoints_v1` WHERE `materialization` = %s AND `key_begin` <= %s AND `key_end` >= %s ORDER BY `key_end` - `key_begin` LIMIT 1;

-- insert fence
INSERT INTO `flow_checkpoints_v1` (`materialization`, `key_begin`, `key_end`, `fence`, `checkpoint`) VALUES (%s, %s, %s, %s, %s);

-- update checkpoint
UPDATE `flow_checkpoints_v1` SET `checkpoint` = %s WHERE `materialization` = %s AND `key_begin` = %s AND `key_end` = %s AND `fence` = %s;
