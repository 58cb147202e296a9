"""The comparison of secrets."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mmr
from mmr.auth.secrets import digest, same_secret

from tests.auth.fakes import SECRET


class SecretTests(SynchronousTestCase):
    def test_equal_texts_only(self) -> None:
        """R43."""
        self.assertTrue(same_secret(SECRET, SECRET))
        for given in ("", SECRET[:-1], SECRET + "x", "é", "\ud800"):
            self.assertFalse(same_secret(given, SECRET))
        self.assertFalse(same_secret("", ""))

    def test_digests_have_one_length(self) -> None:
        """R43: the comparison learns nothing from lengths."""
        self.assertEqual({len(digest("x" * n)) for n in (0, 1, 1000)}, {16})

    def test_is_the_only_one(self) -> None:
        """R43: nobody else compares secrets, in constant time or otherwise."""
        package = Path(mmr.__file__).parent
        for module in package.rglob("*.py"):
            text = module.read_text()
            if module != package / "auth" / "secrets.py":
                self.assertNotIn("compare_digest", text, module)
            for operator in ("==", "!="):
                self.assertNotIn(f"token {operator} ", text, module)
                self.assertNotIn(f"{operator} token", text, module)
