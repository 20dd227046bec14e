"""Who reads the page: whoever owns this machine, somebody who signed in by OpenID Connect, or who gave an API key.

What the page shows, it asks for the reader. In a thread of its own nobody is known: work is told whose it is.
"""

import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import streamlit as st

from app.api.keys import Keys, Scope
from app.caller import ANYBODY, Caller, caller_of
from app.database import Database
from app.sections.serving import SignInSection
from app.settings import Settings, load_settings
from app.ui.launch import LOOPBACK
from indexer.access import check_groups
from indexer.errors import ConfigError

_KEY, _READER = "signed-in-by", "reader"


class SignInError(ConfigError):
    """Nobody is signed in."""


@cache
def settings() -> Settings:
    return load_settings()


@cache
def keys() -> Keys:
    """The API keys of this home."""
    return Keys(Database(settings().home))


def is_loopback() -> bool:
    """Whether only this machine reaches the page: only then may it name files and folders of the server."""
    return st.get_option("server.address") in LOOPBACK


def asks() -> bool:
    """Whether readers have to say who they are."""
    return settings().ui.auth == "keys" or bool(settings().sign_in.metadata_url) or not is_loopback()


def reader() -> Caller:
    """Who reads this page now; a key that was revoked and a sign-in that is too old end at once.

    Raises:
        SignInError: nobody is signed in.
    """
    if not asks():
        return ANYBODY
    if secret := st.session_state.get(_KEY, ""):
        if key := keys().find(secret):
            return caller_of(key)
    elif settings().sign_in.metadata_url and (signed_in := caller_of_claims(st.user.to_dict(), settings().sign_in)):
        return signed_in
    raise SignInError("Nobody is signed in.", "Sign in, and try again.")


def need(scope: Scope) -> Caller:
    """The reader, who has a scope.

    Raises:
        ConfigError: the reader has not; SignInError: there is none.
    """
    caller = reader()
    if not caller.may(scope):
        raise ConfigError(f"You may not {scope} here.", "Ask whoever runs Footnote for it.")
    return caller


def may(scope: Scope) -> bool:
    """Whether the reader has a scope."""
    return reader().may(scope)


def caller_of_claims(claims: Mapping[str, Any], section: SignInSection) -> Caller | None:
    """Who an ID token speaks of; None where it does not say who, or since when, or that was too long ago."""
    issuer, subject, issued = claims.get("iss"), claims.get("sub"), claims.get("iat")
    if not (claims.get("is_logged_in") and issuer and subject and isinstance(issued, int)):
        return None
    if time.time() - issued > section.session_hours * 3600:
        return None
    groups = frozenset(_groups(claims, section.groups_claim))
    scopes = ["read"]
    scopes += ["ingest"] if section.ingest_group and section.ingest_group in groups else []
    scopes += ["admin"] if section.admin_group and section.admin_group in groups else []
    return Caller(f"{issuer}#{subject}", tuple(scopes), groups=groups, by_groups=True)


def _groups(claims: Mapping[str, Any], claim: str) -> Iterable[str]:
    """The groups of a claim, whose name may lead into others as realm_access.roles does."""
    value: Any = claims
    for name in claim.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    for each in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
        try:
            yield from check_groups([each])
        except (ConfigError, TypeError, AttributeError):  # what is no name of a group gives no right
            continue


def show_door() -> Caller | None:
    """Draw what a reader signs in with; the reader, where that was done."""
    try:
        caller = reader()
    except SignInError:
        if _READER in st.session_state:  # a key was revoked, or the sign-in is too old
            _forget()
        _offer_sign_in()
        return None
    if st.session_state.setdefault(_READER, caller.id) != caller.id:  # what one reader had open is not the next one's
        _forget(keep=_KEY)
        st.session_state[_READER] = caller.id
    return caller


def show_leave() -> None:
    """Offer to sign out, where the page asks who reads it."""
    if not asks():
        return
    name = st.user.to_dict().get("name") or st.user.to_dict().get("email")
    named = "by an API key" if st.session_state.get(_KEY) else f"as {name}" if name else ""
    st.button("Sign out", icon=":material/logout:", type="tertiary", help=f"Signed in {named}", on_click=_leave)


def _leave() -> None:
    by_key = bool(st.session_state.get(_KEY))
    _forget()
    if not by_key:
        st.logout()


def _forget(keep: str = "") -> None:
    for name in [name for name in st.session_state if name != keep]:
        del st.session_state[name]


def _offer_sign_in() -> None:
    st.html('<div class="fn-welcome"><h1>Sign in</h1></div>')
    if settings().sign_in.metadata_url:
        st.button("Sign in", type="primary", on_click=st.login, key="fn-login")
    with st.form("key", border=False, clear_on_submit=True):
        secret = st.text_input("API key", type="password", max_chars=200, autocomplete="off")
        if not st.form_submit_button("Use this key"):
            return
    if keys().find(secret.strip()) is None:
        time.sleep(1)  # nobody tries many
        st.html('<div class="fn-error" role="alert"><p><strong>That is no valid key.</strong></p></div>')
        return
    st.session_state[_KEY] = secret.strip()
    st.rerun()
