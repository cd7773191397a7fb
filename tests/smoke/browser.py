"""A real Chromium, and a page that notes whatever goes wrong in it. Screenshots stay in artifacts/."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect

from tests.smoke.accounts import Account
from tests.smoke.live import Live

ARTIFACTS = Path(__file__).parent / "artifacts"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PATIENCE = 15_000
"""Milliseconds that anything on a page may take."""


def key_of(certificate: Path) -> str:
    """What Chromium calls the SPKI fingerprint: it then trusts chains that hold this key and no others."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return base64.b64encode(hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()


class Visit:
    """A page that notes whatever goes wrong in it."""

    def __init__(self, browser: Browser, size: dict[str, int], scheme: Literal["dark", "light"] = "light") -> None:
        viewport: ViewportSize = {"width": size["width"], "height": size["height"]}
        self.context = browser.new_context(viewport=viewport, locale="en-GB", color_scheme=scheme)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(f"{self.page.url}: {error}"))
        self.page.on("console", self._heard)

    def _heard(self, said: ConsoleMessage) -> None:
        # Chromium breaks off what is under way when a stack beside this one gets its networks; pages ask again.
        if said.type == "error" and "ERR_NETWORK_CHANGED" not in said.text:
            self.troubles.append(f"{said.location['url']}: {said.text}")

    def screenshot(self, name: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=path)
        assert path.stat().st_size > 5_000

    def whole_page(self) -> None:
        """Make the window as high as the page, so that what is drawn when it is seen is drawn."""
        size = self.page.viewport_size
        assert size
        height = self.page.evaluate("document.documentElement.scrollHeight")
        self.page.set_viewport_size({"width": size["width"], "height": min(height + 1500, 16000)})

    def log_in(self, live: Live, account: Account) -> None:
        self.page.goto(f"{live.site.base}/")
        self.page.get_by_test_id("sign-in").click()
        self.page.locator("#username").fill(account.username)
        self.page.locator("#password").fill(account.password)
        self.page.locator("#kc-login").click()
        expect(self.page.get_by_test_id("role")).to_have_text(account.role)

    def fill(self, **fields: str) -> None:
        """The fields of an item's form, by their names."""
        form = self.page.get_by_test_id("item-form")
        for name, value in fields.items():
            form.locator(f'[name="{name}"]').fill(value)
        self.page.get_by_test_id("save").click()
