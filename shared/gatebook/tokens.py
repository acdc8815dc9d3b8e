"""Credentials that renew: one refresher among all processes and replicas, and everybody else waits for what it gets.

A refresh token is used up by its use, so two refreshes of one generation would leave the desk with a pair that the
server takes no more. Whoever renews therefore holds the account's lease in the database. What it gets is stored in the
transaction that ends the lease. When it dies, or its reply is lost, the lease runs out by itself, for a request that
is late to land before the next one is sent; then the same refresh token is tried once more. A server that has used it
up refuses (Zendesk), unless it lets a refresh token be repeated for a while (Atlassian: ten minutes); either way
nothing more is lost by trying, because nobody has what the lost reply held.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from gatebook.database.port import Transaction
from gatebook.errors import GatebookError, RateLimitedError, UnauthenticatedError, UpstreamUnavailableError
from gatebook.grants import INVALID_GRANT, AuthorisationServer, Grant, Granted, GrantType, RefusedGrantError
from gatebook.retry import ATTEMPT_S, AmbiguousError
from gatebook.runtime import Runtime
from gatebook.token_store import Held, Tokens, TokenStore

logger = logging.getLogger(__name__)

ASKING_S = ATTEMPT_S + 2.0
"""How long a renewal may take, seconds; whoever began it finishes it, also when its caller has gone."""
LEASE_S = 4 * ATTEMPT_S
"""How long a renewal belongs to who began it, seconds: until nothing of it can land any more."""
REFUSED_S = 600.0
"""How long a refusal is remembered and the server left alone, seconds."""
UNAVAILABLE_S = 5.0
"""How long it is left alone when it could not be reached."""
YOUNG_S = 60.0
"""A token that is refused so soon is not the reason; another would be refused as well."""
TRUSTED_S = 60.0
"""How long a process goes on with a token before it looks whether there is another, seconds."""
PATIENCE_S = 2.0
"""How long a call waits for a renewal while the old token is still good."""
_PAUSE_S = 0.05
_LAST_MOMENT_S = 0.5
_THROTTLED, _UNAVAILABLE = "rate_limited", "unavailable"


@dataclass(frozen=True)
class _Usable:
    """A token, and until when it is used without another look, by the process's steady clock."""

    token: str
    until: float


@dataclass(frozen=True)
class _Due:
    """Tokens to be renewed, by whoever was told so and nobody else, and when that was."""

    held: Held
    at: float


@dataclass(frozen=True)
class _Busy:
    """Another one renews; what can be used meanwhile."""

    meanwhile: _Usable | None


class RenewingCredentials:
    """The bearer token of an account (RFC 6750), renewed before it ends and when it is refused.

    Args:
        runtime: The process's ports.
        grant: Which tokens.
        headers: Sent with every request for a token.
        lease_s: See `LEASE_S`.
    """

    def __init__(
        self, runtime: Runtime, grant: Grant, *, headers: Mapping[str, str] | None = None, lease_s: float = LEASE_S
    ) -> None:
        self._runtime = runtime
        self._grant = grant
        self._server = AuthorisationServer(grant, headers=headers)
        self._lease_s = lease_s
        self._turn = anyio.Lock()
        self._usable: _Usable | None = None

    async def aclose(self) -> None:
        """Close the connections to the authorisation server."""
        await self._server.aclose()

    async def headers(self) -> Mapping[str, str]:
        usable = self._usable
        if usable is None or self._runtime.clock.steady().seconds >= usable.until:
            usable = await self._obtained("")
        return _bearer(usable.token)

    async def renew(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        before = refused.get("authorization", "").removeprefix("Bearer ")
        token = (await self._obtained(before)).token
        return None if token == before else _bearer(token)

    async def connect(self, refresh: str) -> None:
        """Begin with a refresh token that a person got; it is used at once, and so known to work.

        Raises:
            GatebookError: As `headers`.
        """
        tokens = Tokens(refresh=refresh, client=self._grant.client)
        await self._runtime.transact(lambda tx: self._store(tx).put(self._grant.account, tokens))
        await self._obtained("")

    async def disconnect(self) -> bool:
        """Forget the tokens; whether there were any. The server is not told."""
        self._usable = None
        return await self._runtime.transact(lambda tx: self._store(tx).remove(self._grant.account))

    @property
    def needed(self) -> str:
        """The scopes that the desk's work takes, separated by spaces."""
        return self._grant.needed

    async def tried_anew(self) -> Held:
        """Return what there is after one more try, whatever was refused before: a person looks, who mended it maybe.

        Raises:
            GatebookError: As `headers`.
        """
        self._usable = None
        await self._runtime.transact(lambda tx: self._store(tx).forget_refusal(self._grant.account))
        await self._obtained("")
        held = await self._runtime.transact(lambda tx: self._store(tx).find(self._grant.account))
        assert held is not None
        return held

    async def _obtained(self, refused: str) -> _Usable:
        """Return a token that is good and is not `refused`, unless no other would help; renew it where that is due.

        Raises:
            UnauthenticatedError: If there is none to be had.
            UpstreamUnavailableError: If the call has no time left to wait for it, or the server cannot be reached.
        """
        meanwhile: _Usable | None = None
        began = anyio.current_time()
        with anyio.CancelScope(deadline=anyio.current_effective_deadline() - _LAST_MOMENT_S):
            async with self._turn:
                while True:
                    step = await self._runtime.transact(lambda tx: self._step(tx, refused))
                    if isinstance(step, _Due):
                        return await self._renewed(step, refused)
                    if isinstance(step, _Usable):
                        self._usable = step
                        return step
                    meanwhile = step.meanwhile
                    if meanwhile and anyio.current_time() >= began + PATIENCE_S:
                        return meanwhile
                    await anyio.sleep(_PAUSE_S)
        if meanwhile is not None:
            return meanwhile
        raise _unavailable()

    def _step(self, tx: Transaction, refused: str) -> _Usable | _Busy | _Due:
        """Look what there is; tokens that are to be renewed are leased to the caller."""
        held = self._own(self._store(tx))
        usable = self._usable_of(held, tx.steady, refused)
        if usable is not None and tx.steady < max(held.renew_at, held.refused_until):
            return usable
        if refused and refused == held.tokens.access and tx.steady < held.obtained_at + YOUNG_S:
            return _Usable(refused, 0.0)
        if tx.steady < held.refused_until:
            raise self._remembered(held, tx.steady)
        if tx.steady < held.leased_until:
            return _Busy(usable)
        self._store(tx).lease(self._grant.account, seconds=self._lease_s)
        return _Due(held, tx.steady)

    def _own(self, store: TokenStore) -> Held:
        """Return what the account has; a client begins by itself, and a person's authorisation has to be there."""
        held = store.find(self._grant.account)
        if held is not None and held.tokens.client == self._grant.client:
            return held
        if self._grant.kind is GrantType.REFRESH_TOKEN:
            raise UnauthenticatedError(
                "the desk is not connected." if held is None else "the desk is connected for another client.",
                next_step=f"Tell the operator: {self._grant.mend}",
            )
        store.put(self._grant.account, Tokens(client=self._grant.client))
        begun = store.find(self._grant.account)
        assert begun is not None
        return begun

    def _usable_of(self, held: Held, now: float, refused: str) -> _Usable | None:
        token = held.tokens.access
        if not token or token == refused or now >= held.expires_at:
            return None
        trusted = max(min(held.renew_at - now, TRUSTED_S), 0.0)
        return _Usable(token, self._runtime.clock.steady().seconds + trusted)

    async def _renewed(self, due: _Due, refused: str) -> _Usable:
        # Cut off in the middle, a refresh token might be used up and the one in its place lost.
        with anyio.CancelScope(shield=True):
            failure = await self._asked(due)
            usable = await self._runtime.transact(lambda tx: self._after(tx, refused))
            if usable is not None:
                self._usable = usable
                return usable
            raise failure or _unavailable()
        raise AssertionError("a shielded scope was cancelled")

    def _after(self, tx: Transaction, refused: str) -> _Usable | None:
        held = self._store(tx).find(self._grant.account)
        return self._usable_of(held, tx.steady, refused) if held else None

    async def _asked(self, due: _Due) -> GatebookError | None:
        """Ask the server in the name of everybody, and put on record what came of it."""
        account, held = self._grant.account, due.held
        try:
            with anyio.fail_after(ASKING_S):
                granted = await self._server.ask(held.tokens.refresh)
        except (AmbiguousError, TimeoutError):
            # The lease stays: what was sent may be late.
            logger.warning("what became of a renewal of credentials is not known")
            return _unavailable()
        except GatebookError as failure:
            logger.warning("credentials were not renewed", extra={"error": failure.code})
            why, seconds = _memory_of(failure)
            await self._runtime.transact(
                lambda tx: self._store(tx).refused(account, why, generation=held.generation, seconds=seconds)
            )
            return _unavailable() if why == _UNAVAILABLE else failure
        await self._runtime.transact(
            lambda tx: self._store(tx).renewed(
                account,
                self._tokens(held, granted),
                generation=held.generation,
                asked_at=due.at,
                life_s=granted.life_s,
            )
        )
        logger.info("credentials were renewed")
        return None

    def _tokens(self, held: Held, granted: Granted) -> Tokens:
        return Tokens(
            access=granted.access_token,
            refresh=granted.refresh_token or held.tokens.refresh,
            scope=granted.scope or held.tokens.scope,
            client=self._grant.client,
        )

    def _remembered(self, held: Held, now: float) -> GatebookError:
        left = held.refused_until - now
        if held.refused == _THROTTLED:
            return RateLimitedError("the authorisation server asks to wait.", next_step=_LATER, retry_after_s=left)
        if held.refused == _UNAVAILABLE:
            return _unavailable(left)
        return RefusedGrantError(held.refused, mend=self._grant.mend)

    def _store(self, tx: Transaction) -> TokenStore:
        return TokenStore(tx, self._runtime.vault)


_LATER = "Go on with other work and repeat this call later."


def _bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token}"}


def _memory_of(failure: GatebookError) -> tuple[str, float]:
    """Return what is remembered of a failure, and for how many seconds."""
    if isinstance(failure, RateLimitedError):
        return _THROTTLED, failure.retry_after_s or UNAVAILABLE_S
    if isinstance(failure, UnauthenticatedError):
        return failure.why if isinstance(failure, RefusedGrantError) else INVALID_GRANT, REFUSED_S
    return _UNAVAILABLE, UNAVAILABLE_S


def _unavailable(left_s: float = UNAVAILABLE_S) -> UpstreamUnavailableError:
    return UpstreamUnavailableError(
        "the desk's credentials could not be renewed just now; nothing was sent to the desk.",
        next_step=_LATER,
        retry_after_s=left_s,
    )
