"""What the service or the network refuses, as one sentence with its remedy."""

from typing import Any
from xml.etree.ElementTree import ParseError

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from estuary_cdk.errors import CdkError, ConfigError, TransientError, shortened
from estuary_cdk.kits.files import FileChanged

CHANGED = {"PreconditionFailed", "412", "NoSuchKey", "404", "InvalidRange", "NoSuchVersion"}
CREDENTIALS = {
    "InvalidAccessKeyId": "the access key ID is unknown",
    "SignatureDoesNotMatch": "the secret access key is wrong",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the session token is wrong",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
}
DENIED = {"AccessDenied", "AccessDeniedException", "403", "AllAccessDisabled"}


def refusal(
    error: Exception, verb: str, what: str, region: str, permission: str = "s3:ListBucket"
) -> CdkError:
    """Return the error for a request that failed: who must act, and how.

    `verb` and `what` say what couldn't be done; `permission` is what it takes.
    """
    done = f"can't {verb} {what}"
    if isinstance(error, ClientError):
        return _answered(error, done, region, permission)
    reason = shortened(str(error)).strip("\"'")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return ConfigError(f"{done}: there are no credentials", hint="set credentials")
    if isinstance(error, ParamValidationError | InvalidRegionError | ValueError):
        return ConfigError(f"{done}: {reason}", hint="check bucket, region and endpoint")
    if isinstance(error, EndpointConnectionError):
        return TransientError(f"{done}: {reason}", hint="check region and endpoint")
    if isinstance(error, ParseError | ResponseParserError):
        reason = f"the answer is damaged: {reason}"
    else:
        assert isinstance(error, BotoCoreError | OSError)
    return TransientError(f"{done}: {reason}")


def _answered(error: ClientError, done: str, region: str, permission: str) -> CdkError:
    answer: Any = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    message = str(answer.get("Error", {}).get("Message", ""))
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return ConfigError(f"{done}: there is no such bucket", hint="check bucket and endpoint")
    if code.endswith(("NonExistentQueue", "QueueDoesNotExist")):
        return ConfigError(f"{done}: there is no such queue", hint="check queueUrl")
    if code in CREDENTIALS:
        return ConfigError(f"{done}: {CREDENTIALS[code]}", hint="check the credentials")
    if code in REGION or (status in (301, 400) and "x-amz-bucket-region" in headers):
        actual = headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region")
        where = f"in region {actual!r}, not {region!r}" if actual else f"not in region {region!r}"
        hint = f"set region to {actual}" if actual else "set the bucket's region"
        return ConfigError(f"{done}: it is {where}", hint=hint)
    if code in CHANGED:
        return FileChanged(f"{done}: it is no longer what was listed")
    if code in DENIED:
        return ConfigError(
            f"{done}: access is denied", hint=f"the credentials need the permission {permission}"
        )
    if code == "InvalidObjectState":
        return ConfigError(
            f"{done}: it is archived", hint="restore it, or leave it out with matchKeys"
        )
    kind = TransientError if status >= 500 or code in {"SlowDown", "Throttling"} else ConfigError
    return kind(f"{done}: the service answered {status} {code}: {shortened(message)}")
