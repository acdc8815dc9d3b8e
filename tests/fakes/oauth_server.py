"""An authorisation server, and a resource behind its tokens, as Zendesk and Atlassian have them (`network.py`).

A refresh gives a new pair; the pair before is good no more. `leeway` lets a refresh token be repeated, as Atlassian
does for some minutes. `revoked` refuses every grant, `expire` takes back every access token, `life_s` is how long one
is good. Only the standard library, so that it starts at once.
"""

from collections import Counter
from dataclasses import dataclass, field

from network import Answer, Json, Request, Service, serve

TOKENS = {"POST /oauth/tokens", "POST /oauth/token"}
CLIENT, SECRET = "gatebook", "canary-client-secret"
FIRST_REFRESH = "canary-refresh-0"


@dataclass
class Authorisation(Service):
    """The tokens that are good."""

    access: set[str] = field(default_factory=set[str])
    refresh: str = FIRST_REFRESH
    spent: set[str] = field(default_factory=set[str])
    used: Counter[str] = field(default_factory=Counter[str])
    granted: int = 0
    refused: int = 0
    leeway: bool = False
    revoked: bool = False
    answer_with: Json = field(default_factory=dict[str, object])
    life_s: int = 1_800
    bodies: list[Json] = field(default_factory=list[Json])

    def routed(self, request: Request) -> Answer:
        if request.line in TOKENS:
            return self.grant(request.body)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return Answer(200, {"as": bearer}) if bearer in self.access else Answer(401, {"error": "invalid_token"})

    def reset(self) -> None:
        fresh = Authorisation()
        for name in ("access", "refresh", "spent", "used", "granted", "refused", "leeway", "revoked", "answer_with"):
            setattr(self, name, getattr(fresh, name))
        self.life_s, self.bodies = fresh.life_s, []

    def state(self) -> Json:
        return {
            "access": sorted(self.access),
            "refresh": self.refresh,
            "used": self.used,
            "granted": self.granted,
            "refused": self.refused,
            "bodies": self.bodies,
        }

    def told(self, what: str, body: Json) -> Json:
        if what == "expire":
            self.access.clear()
        elif what == "configure":
            for name, value in body.items():
                setattr(self, name, value)
        else:
            raise NotImplementedError(what)
        return {}

    def grant(self, body: Json) -> Answer:
        """Answer a request for a token."""
        self.bodies.append({name: value for name, value in body.items() if name != "client_secret"})
        if (body.get("client_id"), body.get("client_secret")) != (CLIENT, SECRET):
            return self.refuse(401, "invalid_client")
        if self.revoked:
            return self.refuse(400, "invalid_grant")
        if body.get("grant_type") == "client_credentials":
            return self.given({})
        if body.get("grant_type") != "refresh_token":
            return self.refuse(400, "unsupported_grant_type")
        return self.refreshed(str(body.get("refresh_token")))

    def refreshed(self, token: str) -> Answer:
        """Give a new pair for a refresh token that is good."""
        self.used[token] += 1
        if token != self.refresh and not (self.leeway and token in self.spent):
            return self.refuse(403 if self.leeway else 400, "invalid_grant")
        self.spent.add(token)
        self.access.clear()
        self.refresh = f"canary-refresh-{self.granted + 1}"
        return self.given({"refresh_token": self.refresh})

    def given(self, more: Json) -> Answer:
        """Give an access token."""
        self.granted += 1
        token = f"canary-access-{self.granted}"
        self.access.add(token)
        usual: Json = {"access_token": token, "token_type": "bearer", "expires_in": self.life_s, "scope": "read write"}
        return Answer(200, {**usual, **more, **self.answer_with})

    def refuse(self, status: int, error: str) -> Answer:
        """Refuse a grant; the description is text from outside."""
        self.refused += 1
        return Answer(status, {"error": error, "error_description": "canary-description"})


if __name__ == "__main__":
    serve(Authorisation())
