"""Where tokens are kept: sealed, with the lease of whoever renews them and the memory of a refusal."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from gatebook.database.port import Row, Transaction
from gatebook.errors import ConfigurationError
from gatebook.vault import Vault

RENEWED_BEFORE = 0.2
"""Which part of its life a token has left when it is renewed."""
MOST_BEFORE_S = 300.0
"""And how many seconds at most."""


class Tokens(BaseModel):
    """What is sealed. Empty is what there is not.

    Attributes:
        access: The access token.
        refresh: The refresh token.
        scope: What the access token is for.
        client: Which client of which server they belong to.
    """

    model_config = ConfigDict(frozen=True)

    access: str = Field(default="", repr=False)
    refresh: str = Field(default="", repr=False)
    scope: str = ""
    client: str = ""


@dataclass(frozen=True)
class Held:
    """The tokens of an account as they are now; times are `Transaction.steady`."""

    tokens: Tokens
    generation: int
    obtained_at: float
    renew_at: float
    expires_at: float
    leased_until: float
    refused: str
    refused_until: float


class TokenStore:
    """The desk_tokens table, inside one transaction."""

    def __init__(self, transaction: Transaction, vault: Vault) -> None:
        self._tx = transaction
        self._vault = vault

    def find(self, account: str) -> Held | None:
        """Return what an account has; None when it is not connected.

        Raises:
            ConfigurationError: If it was sealed with another key.
        """
        row = self._tx.one("SELECT * FROM desk_tokens WHERE account = :account", account=account)
        if row is None or row["sealed"] is None:
            return None
        return Held(
            tokens=self._opened(account, row),
            generation=int(row["generation"] or 0),
            obtained_at=float(row["obtained_at"] or 0),
            renew_at=float(row["renew_at"] or 0),
            expires_at=float(row["expires_at"] or 0),
            leased_until=float(row["leased_until"] or 0),
            refused=str(row["refused"]),
            refused_until=float(row["refused_until"] or 0),
        )

    def put(self, account: str, tokens: Tokens) -> None:
        """Begin anew with these tokens, which are used up: whatever was going on with others counts no more."""
        self._tx.execute(
            """INSERT INTO desk_tokens (account, generation, sealed, obtained_at, renew_at, expires_at, leased_until,
                 refused, refused_until)
               VALUES (:account, 1, :sealed, 0, 0, 0, 0, '', 0)
               ON CONFLICT (account) DO UPDATE SET generation = desk_tokens.generation + 1, sealed = excluded.sealed,
                 obtained_at = 0, renew_at = 0, expires_at = 0, leased_until = 0, refused = '', refused_until = 0""",
            account=account,
            sealed=self._sealed(account, tokens),
        )

    def remove(self, account: str) -> bool:
        """Forget an account's tokens; whether there were any. The row stays, for its number to be used by no other."""
        removed = self._tx.execute(
            """UPDATE desk_tokens SET sealed = NULL, generation = generation + 1, leased_until = 0
               WHERE account = :account AND sealed IS NOT NULL""",
            account=account,
        )
        return removed > 0

    def lease(self, account: str, *, seconds: float) -> None:
        """Keep the others from a renewal for so long."""
        self._tx.execute(
            "UPDATE desk_tokens SET leased_until = :until WHERE account = :account",
            until=self._tx.steady + seconds,
            account=account,
        )

    def renewed(self, account: str, tokens: Tokens, *, generation: int, asked_at: float, life_s: float) -> bool:
        """Put tokens in the place of a generation and end the lease, all at once; False where others took it.

        A lease that ended meanwhile does not matter: of two replies to one refresh token, the second is a refusal.

        Args:
            account: Whose tokens they are.
            tokens: The new ones.
            generation: In whose place they are.
            asked_at: When they were asked for, `Transaction.steady`.
            life_s: How long the access token is good from then on.
        """
        expires_at = asked_at + life_s
        stored = self._tx.execute(
            """UPDATE desk_tokens SET generation = generation + 1, sealed = :sealed, obtained_at = :obtained,
                 renew_at = :renew, expires_at = :expires, leased_until = 0, refused = '', refused_until = 0
               WHERE account = :account AND generation = :generation""",
            account=account,
            sealed=self._sealed(account, tokens),
            generation=generation,
            obtained=self._tx.steady,
            renew=expires_at - min(life_s * RENEWED_BEFORE, MOST_BEFORE_S),
            expires=expires_at,
        )
        return stored > 0

    def refused(self, account: str, why: str, *, generation: int, seconds: float) -> None:
        """Remember for so long why a generation was not renewed, and end the lease."""
        self._tx.execute(
            """UPDATE desk_tokens SET refused = :why, refused_until = :until, leased_until = 0
               WHERE account = :account AND generation = :generation""",
            why=why,
            until=self._tx.steady + seconds,
            account=account,
            generation=generation,
        )

    def forget_refusal(self, account: str) -> None:
        """Let a refusal count no more."""
        self._tx.execute("UPDATE desk_tokens SET refused = '', refused_until = 0 WHERE account = :name", name=account)

    def _sealed(self, account: str, tokens: Tokens) -> bytes:
        return self._vault.seal(tokens.model_dump_json(), context=_context(account))

    def _opened(self, account: str, row: Row) -> Tokens:
        sealed = row["sealed"]
        assert isinstance(sealed, bytes)
        try:
            return Tokens.model_validate_json(self._vault.open(sealed, context=_context(account)))
        except ConfigurationError as error:
            raise ConfigurationError(
                "the stored credentials of the desk cannot be opened with this key.",
                next_step="Put the key of the recordings back, or connect the desk anew.",
            ) from error


def _context(account: str) -> str:
    return f"tokens/{account}"
