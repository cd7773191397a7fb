"""Logging in as a browser does: what each answer on the way means."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ops.keycloak.probe.browser import action_of, asks_more, code_of, refusal

URL = "https://shop.example.com"
FORM = (
    '<form id="kc-form-login" class="x" onsubmit="return true;" '
    f'action="{URL}/auth/realms/cc03/login-actions/authenticate?session_code=a&amp;execution=b&amp;tab_id=c" method="post">'
)
PAGE = f"<html><body>{FORM}<input name='username'></form></body></html>"


@dataclass
class Answer:
    status_code: int = 200
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def test_address_of_the_form_is_read() -> None:
    assert action_of(PAGE) == f"{URL}/auth/realms/cc03/login-actions/authenticate?session_code=a&execution=b&tab_id=c"
    assert action_of("<html>Internal server error</html>") == ""


def test_code_is_read_where_it_comes_back_to_the_application() -> None:
    good = Answer(302, headers={"Location": f"{URL}/?state=s1&session_state=x&iss=y&code=abc.def"})

    assert code_of(good, f"{URL}/", "s1") == "abc.def"
    assert code_of(good, f"{URL}/", "another state") == ""
    assert code_of(Answer(302, headers={"Location": f"{URL}/?state=s1&error=access_denied"}), f"{URL}/", "s1") == ""
    assert code_of(Answer(302, headers={"Location": "https://elsewhere.example.com/?state=s1&code=abc"}), f"{URL}/", "s1") == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(500, "<p class='instruction'>An internal server error has occurred</p>"), "HTTP 500"),
        (Answer(200, "<html><h1>We are sorry...</h1></html>"), "no login form"),
        (Answer(302, headers={"Location": f"{URL}/?error=temporarily_unavailable"}), "temporarily_unavailable"),
        (Answer(400, "<div id='kc-error-message'>Invalid parameter: redirect_uri</div>"), "redirect_uri"),
    ],
)
def test_page_without_a_form_is_told(answer: Answer, words: str) -> None:
    assert words in refusal(answer, "no login form")


def test_words_of_a_page_are_told_without_its_markup() -> None:
    page = Answer(
        200, PAGE + "<style>x{}</style><script>1<2</script><span id='input-error'>Invalid username or password.</span>"
    )

    assert refusal(page, "the form came back") == "the form came back: Invalid username or password."


def test_step_after_the_password_is_no_refusal() -> None:
    required = Answer(
        302, headers={"Location": f"{URL}/auth/realms/cc03/login-actions/required-action?execution=CONFIGURE_TOTP"}
    )

    assert asks_more(Answer(200, '<form id="kc-otp-login-form" action="x">'))
    assert asks_more(required)
    assert not asks_more(Answer(200, PAGE + '<form id="kc-select-try-another-way-form" action="x">'))
    assert not asks_more(Answer(200, "<div id='kc-error-message'>We are sorry</div>"))
    assert not asks_more(Answer(500, '<form id="kc-otp-login-form">'))
