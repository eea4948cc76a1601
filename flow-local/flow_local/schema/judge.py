"""The judge of schemas and values: jsonschema_rs with Flow's formats."""

import jsonschema_rs

from estuary_cdk.errors import ConfigError
from flow_local.schema import formats, pointers
from flow_local.schema.dialect import Schema


def compiled(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    """Return the judge for a plain schema, formats included.

    Raises ConfigError naming the place in the schema that is malformed.
    """
    try:
        return jsonschema_rs.Draft202012Validator(
            schema, formats=formats.CUSTOM, validate_formats=True, offline=True
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        place = pointers.joined(getattr(error, "instance_path", ())) or "the root"
        text = getattr(error, "message", str(error))
        raise ConfigError(f"can't use schema: at {place}: {text}", pointer=place) from error
