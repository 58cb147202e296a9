"""Keys, files and documents of MMR's own tests, and the specification's (vectors)."""

from __future__ import annotations

from typing import Any

from mmr.crypto.keys import SigningKey, decode_base64


def key(version: str, seed: str) -> SigningKey:
    return SigningKey(version, decode_base64(seed))


DENDRITE = key("1Pu3u3", "1Pu3u3solToI2pTdsHA4wj05bANnzPwJoxPepw2he2s")
DENDRITE_2 = key("wBZqM2", "YOA4wuCQ+Wh7Vr+zmYSZpScnrgsrSAVtP89hn0zPO+s")
MMR = key("e5d0oC", "PJt0OaIImDJk8P/PDb4TNQHgI/1AA1C+AaQaABxAcgc")
MMR_2 = key("CjtBYA", "Xj/gSXAtSOTPG54sAWjm9BMVNX/Pa8ujIzwYbvLk7mM")
SYNAPSE = key("a_RVfN", "wdSWsTNSOmMuNA1Ej6JUyeNbiBEt5jexHmVs7mHKZVc")
SYNAPSE_2 = key("IZJY6A", "dvA8xfimUqog15zY6n5uRfVHb/pQ0sw9jRORJslYsoI")
SPECIFICATION = key("1", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")

PUBLIC_KEYS = {
    DENDRITE: "uBatSEbBO6u7SNwvNwVFCD4XGaS0ikPI1PMgP5nlh3c",
    DENDRITE_2: "B0KYdGR+1f3uEVgcptgBqx+VK9m+7LdsX710v91mDhw",
    MMR: "TohekYXzLx7VzV8FtLQlI3XsSdPv1CjhVYY5rZmFCvU",
    MMR_2: "YfuzHpJmxuojU1rl2GoXkuKjk+1vbqtiY1lG+CSW96k",
    SYNAPSE: "N1wtx39rXnuCsbjt3Yhrb0jkPI/zI5kphIV9ai1enW0",
    SYNAPSE_2: "8VDzzZcjuBSBWahBGmhd5zz48WJInxeGeOpz5zVg5Vk",
    SPECIFICATION: "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI",
}

D1 = """-----BEGIN MATRIX PRIVATE KEY-----
Key-ID: ed25519:1Pu3u3

1Pu3u3solToI2pTdsHA4wj05bANnzPwJoxPepw2he2s=
-----END MATRIX PRIVATE KEY-----
"""
D2 = D1.replace("ed25519:1Pu3u3", "ed25519:wBZqM2").replace(
    "1Pu3u3solToI2pTdsHA4wj05bANnzPwJoxPepw2he2s=",
    "YOA4wuCQ+Wh7Vr+zmYSZpScnrgsrSAVtP89hn0zPO+s=",
)
M1 = """-----BEGIN MMR PRIVATE KEY-----
Key-ID: ed25519:e5d0oC
Version: 1

PJt0OaIImDJk8P/PDb4TNQHgI/1AA1C+AaQaABxAcgc=
-----END MMR PRIVATE KEY-----
"""
M2 = M1.replace("e5d0oC", "CjtBYA").replace(
    "PJt0OaIImDJk8P/PDb4TNQHgI/1AA1C+AaQaABxAcgc=",
    "Xj/gSXAtSOTPG54sAWjm9BMVNX/Pa8ujIzwYbvLk7mM=",
)
S1 = "ed25519 a_RVfN wdSWsTNSOmMuNA1Ej6JUyeNbiBEt5jexHmVs7mHKZVc"
S2 = "ed25519 IZJY6A dvA8xfimUqog15zY6n5uRfVHb/pQ0sw9jRORJslYsoI"

# Key, validity, SHA-256 of the canonical form, signature.
SERVER_KEYS = [
    (
        DENDRITE,
        1701584534175,
        "784fd9ff400553b32da074849c2c6a3a50fbfe8c7a978c806efb70e3052baeec",
        "ya8NhdqVGZp8vhEgmtfIdm7gIEiLpcbp/0H2m+36nto/mXLDaGulkaQB/p7iftksiboTg/yK4BAzjWO0zFz7DQ",
    ),
    (
        MMR,
        1700979986627,
        "6ed413215c9f5260120405f395f1ba5688b8fbb0406cc52f65a663ae032868f6",
        "FRIe4KJ5kdnBXJgQCgC057YcHafHZmidNqYtSSWLU7QMgDu8uMHWcuPPack8zys1GeLdgS9d5YolmyOVQT9WDA",
    ),
    (
        SYNAPSE,
        1701065483311,
        "35814369f2c8976cf65b2773dbd80af80ce05e693bd6339bcf263d7dc73def49",
        "hCcSfyiyMPZU93ysk+r62aC0nkbUKRgzwzRpPO85VUshILT64fg5mPykMUb/XU0G3Tr7/Qn8uTpdPkoZ3B+QDw",
    ),
]

SPECIFIED = [
    (
        {},
        "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ",
    ),
    (
        {"one": 1, "two": "Two"},
        "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
    ),
]

RESOLVEMATRIX = "x.resolvematrix.dev"
_OWN = {"ed25519:AY4k3ADlto8": {"key": "VF7dl9W/tFWAjZSXm42Ef22k3v4WKBYLXZF9I7ErU00"}}
ACCEPTED: dict[str, Any] = {
    "old_verify_keys": {},
    "server_name": RESOLVEMATRIX,
    "valid_until_ts": 1701057124839,
    "verify_keys": _OWN,
    "signatures": {
        RESOLVEMATRIX: {
            "ed25519:AY4k3ADlto8": "3WlsmHFTVjywCoDYyrtx3ies+VufTuBuw1Prlgmoqh"
            "+a4XrJT+isEwhTX+I5FBvtJTKTt6vLH3gaP7BA6712CA"
        }
    },
}
INJECTED: dict[str, Any] = {
    **ACCEPTED,
    "valid_until_ts": 1701055573679,
    "verify_keys": {
        **_OWN,
        "ed25519:injected": {"key": "w48CLiV1IkWoEbqJLFmniGUYtxwT+c2zm87X8oEpRO8"},
    },
    "signatures": {
        RESOLVEMATRIX: {
            "ed25519:injected": "FB93YAF+fOPyWcsx285Q/xFzRiG5sr7/"
            "u1iX9XWaIcOwDyDDwx7daS1eYxuM9PfosWE5vqUyTsCxmB40JTzdCw"
        }
    },
}

# Key, origin, destination, target, signature.
REQUESTS = [
    (
        MMR,
        "example.org",
        "remote.example",
        "/_matrix/federation/v1/media/download/abc123",
        "PKzPGopnkPWCSEyO2C1h6zRCJh+OhOJFB2S95/fFPD+AyDZuWoGTSg7ZIL/uZKS3jt2vCrUdoVxbaGq6URHgBw",
    ),
    (
        SYNAPSE,
        "example.org",
        "remote.example",
        "/_matrix/federation/v1/media/thumbnail/abc123?method=scale&width=32&height=32&timeout_ms=20000",
        "wWam/FTSFFtEl2IBd7/FP4BHD9dhN/UNIbPqrlAP/eaYfo8C7BVsBoWbnVxPBnODX0XUe/fKJl2VQAfM/rG0BQ",
    ),
    (
        MMR,
        "localhost:8008",
        "localhost",
        "/_matrix/media/v3/download/example.org/abc",
        "ucrr1+Tg4V37SFE9LJlxRhjHvssBNBLVTM2YpeqBJMJ/rjvxsPpQ9Y8X1eA2uFIcoqni4ae4w4rQnVSA3dM9Aw",
    ),
]
