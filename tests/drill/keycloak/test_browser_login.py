"""What fails for a browser only is seen by the proof of a repair: a password grant passes beside it."""

from __future__ import annotations

from tests.drill.keycloak.break_realm import realm
from tests.drill.keycloak.hands import Keycloak
from tests.drill.stack import inv


def test_browser_flow_that_logs_nobody_in_is_told(sound: Keycloak) -> None:
    sound.put_back = False
    try:
        realm(browserFlow="direct grant")(sound)
        answer = inv("keycloak.fix", "--yes")

        assert sound.login_problem()
        assert answer.returncode == 5, answer.stdout + answer.stderr
        assert "login form" in answer.stdout + answer.stderr
    finally:
        sound.mend()
