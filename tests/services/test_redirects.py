"""Where sign-ins may lead to."""

import pytest

from app.core.config import get_settings
from app.core.errors import Invalid
from app.services.auth.redirects import redirect_target


@pytest.fixture(autouse=True)
def origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "app_url", "https://app.luneo.test")
    monkeypatch.setattr(
        get_settings(), "cors_origins", ["https://shop.example:8443", "http://localhost:3000"]
    )


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (None, "https://app.luneo.test/"),
        ("/", "https://app.luneo.test/"),
        ("/orders?status=paid&next=//x", "https://app.luneo.test/orders?status=paid&next=//x"),
        ("https://app.luneo.test", "https://app.luneo.test"),
        ("https://app.luneo.test:443/a", "https://app.luneo.test:443/a"),
        ("https://shop.example:8443/back?x=1", "https://shop.example:8443/back?x=1"),
        ("http://localhost:3000/", "http://localhost:3000/"),
    ],
)
def test_target_when_the_address_is_ours(text: str | None, target: str) -> None:
    assert redirect_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "orders",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        " /orders",
        "/or ders",
        "/a\nb",
        "/a\x00",
        "/é",
        "/a#auth_code=x",
        "https://app.luneo.test.evil.example/",
        "https://evil.example/https://app.luneo.test",
        "https://app.luneo.test@evil.example/",
        "https://user@app.luneo.test/",
        "https://app.luneo.test:8443/",
        "http://app.luneo.test/",
        "https://shop.example/",
        "https:/app.luneo.test",
        "https://app.luneo.test:x/",
        "https://[::1/",
        "javascript:alert(1)",
        "data:text/html,x",
        "/" + "a" * 2048,
    ],
)
def test_target_when_the_address_is_not_ours(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        redirect_target(text)
    assert refused.value.code == "redirect_not_allowed"
    assert refused.value.status == 422
