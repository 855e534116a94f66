"""Makes the gateway's key pairs for the EHR (SMART Backend Services) and their public JWK set, once."""

import argparse
import json
import os
import pathlib

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

PKCS8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def load_or_make(path: pathlib.Path, make):
    """Returns the private key in `path`; makes it first, readable by its owner only, if it is not there."""
    if path.exists():
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    key = make()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(*PKCS8))
    return key


def public_jwk(key, algorithm: str, kid: str) -> dict:
    """The public half of a signing key as a JWK."""
    encoder = jwt.algorithms.get_default_algorithms()[algorithm]
    jwk = json.loads(encoder.to_jwk(key.public_key()))
    jwk.pop("key_ops", None)
    return jwk | {"kid": kid, "use": "sig", "alg": algorithm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="where the keys are kept (mode 700)")
    folder = parser.parse_args().folder
    es384 = load_or_make(folder / "ehr-client-es384.pem", lambda: ec.generate_private_key(ec.SECP384R1()))
    rs384 = load_or_make(folder / "ehr-client-rs384.pem", lambda: rsa.generate_private_key(65537, 3072))
    load_or_make(folder / "audit-signing.pem", ed25519.Ed25519PrivateKey.generate)
    keys = [public_jwk(es384, "ES384", "scargate-es384"), public_jwk(rs384, "RS384", "scargate-rs384")]
    (folder / "ehr-client-jwks.json").write_text(json.dumps({"keys": keys}))


if __name__ == "__main__":
    main()
