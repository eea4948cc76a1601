"""One call from asking to an acceptable answer: rate, signature, redirects, status, retries."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urlencode

from estuary_cdk.clock import Clock
from estuary_cdk.errors import VALUE_CHARS_MAX, CdkError, ConfigError, DataError, TransientError
from estuary_cdk.kits.http.address import (
    REDIRECT_STATUSES,
    REDIRECTS_MAX,
    checked,
    impersonal,
    redirected,
    trusted,
    with_parameters,
)
from estuary_cdk.kits.http.auth import Auth, Desk, Signature, TokenCall
from estuary_cdk.kits.http.encodings import ACCEPTED, decoded
from estuary_cdk.kits.http.errors import HttpError, Refused, http_error
from estuary_cdk.kits.http.rate import Bucket
from estuary_cdk.kits.http.redaction import Redaction
from estuary_cdk.kits.http.retry import Retry, given_up, retry_after
from estuary_cdk.kits.http.transport import Received, Request, Transport
from estuary_cdk.logs import get_logger

BODY_BYTES_MAX = 256 * 1024 * 1024
ERROR_BODY_BYTES_MAX = 64 * 1024

T = TypeVar("T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A request before it is signed.

    `repeatable` when making it twice does no harm; `accept` holds the statuses besides 2xx that
    are answers to it.
    """

    request: Request
    repeatable: bool
    accept: frozenset[int] = frozenset()
    signed: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    `body` is decoded (`Content-Encoding` undone). `url` is where it came from, for people: free of
    secrets; `address` is the same as it was asked for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Located:
    """An answer whose body still flows, where it came from, and what signed the request if any."""

    url: str = field(repr=False)
    received: Received
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class Situation:
    """What all calls of one client share from outside."""

    transport: Transport
    clock: Clock
    dice: random.Random


class Exchanges:
    """Makes the calls of one client; concurrent calls share the bucket and the signature."""

    def __init__(
        self, origin: str, auth: Auth, bucket: Bucket, retry: Retry, situation: Situation
    ) -> None:
        self.redaction = Redaction()
        self.origin = origin
        self._bucket = bucket
        self._retry = retry
        self._transport = situation.transport
        self._clock = situation.clock
        self._dice = situation.dice
        self.signer = auth.signer(Desk(situation.clock, self._token))

    async def whole(self, call: Call) -> Answer:
        """Return the answer, read to its end; a body that breaks is asked for again."""

        async def once() -> Answer:
            async with self._accepted(call) as located:
                received, place = located.received, self.redaction.url(located.url)
                body, whole = await _start_of_body(received, place, BODY_BYTES_MAX)
                if not whole:
                    raise DataError(
                        f"can't read {place!r} at once: it has more than {BODY_BYTES_MAX} bytes"
                    )
                return Answer(received.status, received.headers, body, place, located.url)

        return await self._persisted(call, once)

    @asynccontextmanager
    async def streamed(self, call: Call) -> AsyncGenerator[Located]:
        """Give the answer while its body flows; what breaks from there on is the caller's."""
        async with AsyncExitStack() as stack:

            async def once() -> Located:
                return await stack.enter_async_context(self._accepted(call))

            yield await self._persisted(call, once)

    async def paused(self, attempt: int) -> None:
        """Wait as before another attempt of a failed call."""
        await self._clock.sleep(self._retry.wait(attempt, self._dice))

    async def _persisted(self, call: Call, once: Callable[[], Awaitable[T]]) -> T:
        attempt, failed_at = 0, None
        while True:
            try:
                return await once()
            except CdkError as error:
                attempt += 1
                if not self._retry.applies(error, repeatable=call.repeatable):
                    raise
                now = self._clock.monotonic()
                failed_at = now if failed_at is None else failed_at
                pause = self._asked_pause(error, attempt)
                wait = self._retry.wait(attempt, self._dice) if pause is None else pause
                if not self._retry.allows(attempt, now - failed_at + wait):
                    raise given_up(error, attempt, now - failed_at, pause) from error
                log.warning(
                    "request failed, trying again",
                    reason=f"status {error.status}" if isinstance(error, HttpError) else str(error),
                    attempt=attempt,
                    attempts_max=self._retry.attempts,
                    wait_s=round(wait, 3),
                )
            # Who is told to slow down, slows down for everyone.
            if pause is None:
                await self._clock.sleep(wait)
            else:
                self._bucket.pause(pause)

    def _asked_pause(self, error: CdkError, attempt: int) -> float | None:
        """Return the seconds the server wants all requests to wait, None if only this one does."""
        if not isinstance(error, HttpError):
            return None
        asked = retry_after(error.headers, self._clock.now())
        if asked is None and error.status == 429:
            return self._retry.wait(attempt, self._dice)
        return asked

    @asynccontextmanager
    async def _accepted(self, call: Call) -> AsyncGenerator[Located]:
        async with AsyncExitStack() as stack:
            located = await self._answered(call, stack)
            signature = located.signature
            if located.received.status == 401 and signature and self.signer.renew(signature):
                await stack.aclose()
                located = await self._answered(call, stack)
            status = located.received.status
            if not 200 <= status < 300 and status not in call.accept:
                raise await self._failure(call.request.method, located)
            yield located

    async def _answered(self, call: Call, stack: AsyncExitStack) -> Located:
        await self._bucket.start()
        request, signature = call.request, None
        if call.signed and trusted(self.origin, request.url):
            signature = await self.signer.sign()
            self.redaction.add(*signature.secrets)
            request = _signed(request, signature)
        elif call.signed:
            request = replace(request, headers=impersonal(request.headers))
        for _ in range(REDIRECTS_MAX + 1):
            received = await stack.enter_async_context(self._transport.exchange(request))
            location = received.headers.get("Location")
            if received.status not in REDIRECT_STATUSES or location is None:
                return Located(request.url, received, signature)
            await stack.aclose()
            turned = redirected(request, received.status, location)
            if signature and trusted(self.origin, turned.url) and turned.headers == request.headers:
                address = with_parameters(turned.url, signature.parameters)
                turned = replace(turned, url=address)
            request = turned
        place = self.redaction.url(call.request.url)
        raise ConfigError(f"can't get {place!r}: more than {REDIRECTS_MAX} redirects")

    async def _failure(self, method: str, located: Located) -> HttpError:
        place = self.redaction.url(located.url)
        received = located.received
        try:
            body, _ = await _start_of_body(received, place, ERROR_BODY_BYTES_MAX)
        except (DataError, TransientError):
            body = b""  # the status says enough
        text = self.redaction.text(body.decode("utf-8", "replace"))[:VALUE_CHARS_MAX]
        return http_error(method, place, received.status, body=text, headers=received.headers)

    async def _token(self, call: TokenCall) -> bytes:
        self.redaction.add(*call.secrets)
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": ACCEPTED,
            "Content-Type": "application/x-www-form-urlencoded",
            **call.headers,
        }
        request = Request("POST", checked(call.url), headers, urlencode(call.form).encode())
        try:
            answer = await self.whole(Call(request, repeatable=True, signed=False))
        except Refused as error:
            place = self.redaction.url(call.url)
            raise Refused(
                f"can't get an access token: {place!r} answered {error.status}: {error.body}",
                hint="check the credentials, or sign in again",
                **error.context,
            ) from error
        return answer.body


def _signed(request: Request, signature: Signature) -> Request:
    return replace(
        request,
        url=with_parameters(request.url, signature.parameters),
        headers={**request.headers, **signature.headers},
    )


async def _start_of_body(received: Received, place: str, bytes_max: int) -> tuple[bytes, bool]:
    """Return at most about `bytes_max` decoded bytes, and whether that is all there is."""
    parts: list[bytes] = []
    size = 0
    encoding = received.headers.get("Content-Encoding", "")
    async with aclosing(decoded(received.blocks(), encoding, place)) as blocks:
        async for block in blocks:
            size += len(block)
            if size > bytes_max:
                return b"".join([*parts, block])[:bytes_max], False
            parts.append(block)
    return b"".join(parts), True
