"""Private keys of the kinds that clients have."""

from typing import Literal, TypeAlias, assert_never

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

KeyType: TypeAlias = Literal["ec", "rsa", "ed25519"]
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def generate_key(key_type: KeyType = "ec") -> PrivateKey:
    """Return a new private key: P-256, RSA with 2048 bits, or Ed25519."""
    match key_type:
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "rsa":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            assert_never(key_type)
