"""Writes a CSV of ten mixed columns, the same at every run: `python events_csv.py ROWS FILE`."""

import random
import sys
from pathlib import Path

HEADER = "id,qty,price,title,created_at,active,city,score,day,note\n"
CITIES = ["Lisbon", "Reykjavík", "Osaka", "New York", "São Paulo", "Nairobi", "Zürich", "Hanoi"]
WORDS = [
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "while",
    "rain",
    "falls",
    "on",
    "quiet",
    "hills",
]
BLOCK = 10_000


def main(rows: int, path: str) -> None:
    """Write `rows` rows after a header; about 110 bytes each."""
    chosen = random.Random(42)
    titles = [" ".join(chosen.choices(WORDS, k=2 + n % 6)) for n in range(997)]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for start in range(0, rows, BLOCK):
            lines = []
            for i in range(start, min(start + BLOCK, rows)):
                note = f'"note, {i}"' if i % 3 == 1 else ""
                second = i % 86400
                lines.append(
                    f"{i},{i * 7919 % 1000},{i * 31 % 100000 / 100:.2f},{titles[i % 997]},"
                    f"2024-{1 + i % 12:02}-{1 + i % 28:02}T{second // 3600:02}:"
                    f"{second // 60 % 60:02}:{second % 60:02}Z,{'true' if i % 3 else 'false'},"
                    f"{CITIES[i % 8]},{i * 0.37:.6f},20{20 + i % 7}-{1 + i % 12:02}-01,{note}\n"
                )
            file.write("".join(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
