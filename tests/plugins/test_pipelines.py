"""Hooks where files come in: nothing refused is kept (R86, R87)."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, ClassVar

from PIL import Image, PngImagePlugin

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from mmr.config import load_config
from mmr.errors import ConfigError

from tests.harness import ServerCase, png
from tests.plugins.programs import program
from tests.rest.preview_case import PreviewCase, page, picture
from tests.rest.remote_case import RemoteCase

REFUSES_SPAM = """
def answer(question, config):
    seen = open(question["path"], "rb").read()
    with open(config["log"], "a") as log:
        log.write(json.dumps({**question, "seen": len(seen)}) + "\\n")
    return {"spam": b"casino" in seen}
"""


class ProgramCase:
    """Adds a program to the configuration."""

    folder: Any
    config: ClassVar[dict[str, Any]]

    def make_folder(self) -> Any:
        folder = super().make_folder()  # type: ignore[misc]
        path = program(folder, REFUSES_SPAM)
        entry = {"exec": str(path), "config": {"log": str(folder / "asked")}}
        type(self).config = {"plugins": [entry]}
        return folder

    def questions(self) -> list[dict[str, Any]]:
        log = self.folder / "asked"
        if not log.exists():
            return []
        return [json.loads(line) for line in log.read_text().splitlines()]


class UploadTests(ProgramCase, ServerCase):
    async def post(self, data: bytes) -> Any:
        return await self.request("POST", "/_matrix/media/v3/upload", body=data)

    async def test_what_is_refused_is_not_kept(self) -> None:
        for size in (0, 1_000_000):
            answer = await self.post(b"casino" + bytes(size))
            self.assertEqual(answer.status, 403)
            self.assertEqual(answer.json["errcode"], "M_FORBIDDEN")
        await self.server.sweep.delete_queued()
        self.assertTrue(await self.is_empty())

    async def test_what_is_fine_is_kept_and_the_program_saw_all_of_it(self) -> None:
        for size in (0, 10, 3_000_000):
            self.assertEqual((await self.post(bytes(size))).status, 200)
        self.assertEqual(
            [each["seen"] for each in self.questions()], [0, 10, 3_000_000]
        )
        self.assertEqual(self.questions()[0]["userId"], "@alice:media.example")
        self.assertFalse(self.questions()[0]["isRemote"])

    async def test_the_same_bytes_are_asked_about_once(self) -> None:
        for _ in range(3):
            await self.post(b"casino")
        self.assertEqual(len(self.questions()), 1)

    async def test_reserved_ids_are_no_way_around(self) -> None:
        media_id = await self.create()
        self.assertEqual((await self.put(media_id, b"casino")).status, 403)
        self.assertEqual((await self.put(media_id, b"home")).status, 200)

    async def test_thumbnails_are_not_asked_about(self) -> None:
        media_id = await self.upload(png(400, 300))
        self.assertEqual((await self.thumbnail(media_id)).status, 200)
        self.assertEqual(len(self.questions()), 1)

    async def test_a_reload_takes_plugins_out_and_in(self) -> None:
        config = self.server.config
        self.server.reload(config.model_copy(update={"plugins": ()}))
        self.assertEqual((await self.post(b"casino")).status, 200)
        self.server.reload(config)
        self.assertEqual((await self.post(b"casino!")).status, 403)

    async def test_a_bad_plugin_doesn_t_get_in_by_a_reload(self) -> None:
        config = self.config_file.read_text() + "\n"
        start = config.index("plugins:")
        self.config_file.write_text(
            config[:start]
            + "plugins: [{module: no.such.Thing}]\n"
            + config[config.index("rateLimit:") :]
        )
        with self.assertRaises(ConfigError):
            self.server.reload(load_config([self.config_file]))
        self.assertEqual((await self.post(b"casino")).status, 403)


class RemoteTests(ProgramCase, RemoteCase):
    async def test_a_refused_remote_file_never_arrives_whole(self) -> None:
        """R87: the last block is held back until the hooks have passed."""
        content = b"casino" + bytes(300_000)
        self.reply_file(content)
        wire = await self.fetching()
        await wire.closed()
        self.assertLess(len(wire.received), len(content))
        await self.eventually(lambda: not self.server.remote_media.running)
        self.assertEqual(await self.count("media"), 0)
        self.assertTrue(self.questions()[0]["isRemote"])


class PreviewTests(ProgramCase, PreviewCase):
    async def test_a_refused_picture_costs_the_picture_only(self) -> None:
        self.paths["/"] = page(
            "<title>A page</title><meta property='og:image' content='/a.png'>"
        )
        comment = PngImagePlugin.PngInfo()
        comment.add_text("Comment", "casino")
        out = io.BytesIO()
        Image.new("RGB", (300, 200)).save(out, "PNG", pnginfo=comment)
        self.paths["/a.png"] = picture(out.getvalue())
        shown = await self.shown(self.url("/"))
        self.assertEqual(shown["og:title"], "A page")
        self.assertNotIn("og:image", shown)
        [question] = self.questions()
        self.assertTrue(question["isPreview"])
        self.assertFalse(question["isRemote"])
        self.assertEqual(question["seen"], len(out.getvalue()))
        self.assertEqual(self.files(), [])


class OcrServer(Resource):
    """Reads the same text in every picture."""

    isLeaf = True

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.status = 200
        self.pictures: list[bytes] = []

    def render_POST(self, request: Any) -> bytes:
        body = json.load(request.content)
        assert body["trim"] == "\n"
        self.pictures.append(base64.b64decode(body["base64"]))
        request.setHeader(b"content-type", b"application/json")
        request.setResponseCode(self.status)
        return json.dumps({"result": self.text}).encode()


class OcrTests(ServerCase):
    async def setUp(self) -> None:
        self.ocr = OcrServer("Win at the CASINO, free coins")
        self.port = port = reactor.listenTCP(0, Site(self.ocr), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        entry = {
            # As in a configuration of MMR's.
            "exec": "/plugins/plugin_antispam_ocr",
            "config": {
                "ocrServer": f"http://127.0.0.1:{port.getHost().port}",
                "keywordGroups": [["casino", "poker"], ["coins"]],
                "minSizeBytes": 100,
                "maxSizeBytes": 1_000_000,
                "types": ["image/png"],
                "userIds": "@alice:.*",
                "percentageOfHeight": 0.5,
            },
        }
        type(self).config = {"plugins": [entry]}
        await super().setUp()

    async def post(self, data: bytes, **more: Any) -> int:
        answer = await self.request(
            "POST",
            "/_matrix/media/v3/upload",
            body=data,
            headers={"Content-Type": more.pop("content_type", "image/png")},
            **more,
        )
        return answer.status

    async def test_text_with_a_word_of_each_group_is_refused(self) -> None:
        self.assertEqual(await self.post(png(800, 600)), 403)
        with Image.open(io.BytesIO(self.ocr.pictures[0])) as shown:
            self.assertEqual(shown.mode, "L")
            # The upper half of 800x600, fitted into 512x512 and enlarged twice.
            self.assertEqual(shown.size, (2048, 768))

    async def test_other_text_passes(self) -> None:
        self.ocr.text = "casino without money"
        self.assertEqual(await self.post(png(800, 600)), 200)

    async def test_a_reader_that_fails_has_read_nothing(self) -> None:
        """D53, R86: refused for now, and asked about again."""
        self.ocr.status, self.ocr.text = 500, ""
        self.assertEqual(await self.post(png(800, 600)), 503)
        self.ocr.status = 200
        self.assertEqual(await self.post(png(800, 600)), 200)

    async def test_a_reader_that_is_away_has_read_nothing(self) -> None:
        """D53, R86."""
        await self.port.stopListening()
        self.assertEqual(await self.post(png(800, 600)), 503)
        self.assertTrue(await self.is_empty())

    async def test_others_are_not_looked_at(self) -> None:
        self.assertEqual(await self.post(png(80, 60), token="bob-token"), 200)
        self.assertEqual(await self.post(b"x" * 200, content_type="text/plain"), 200)
        self.assertEqual(await self.post(b"x" * 50), 200)
        self.assertEqual(await self.post(b"no picture" * 100), 200)
        self.assertEqual(self.ocr.pictures, [])
