"""Vectors that end in a verdict."""

from __future__ import annotations

from crlcheck.demo.encoding import (
    der,
    der_generalized_time,
    der_integer,
    encode_entry,
    encode_extension,
)
from crlcheck.demo.pki import CertificateAuthority
from support.certificate_der import full_name_point
from support.pki import DAY, NOW
from support.vectors import (
    CA,
    INDIRECT,
    UNSPECIFIC,
    URI,
    Vector,
    authority,
    client,
    crl,
    delta_of,
    name_of,
    named,
    scope,
)

OTHER = authority("Other CA")
CRL_ISSUER = authority("CRL Issuer")
OTHER_URI = der(0x86, b"http://crl.test/2")
X400 = der(0xA3, der(0x30, der(0x61, b"\x13\x02US")))
X400_AS_STRING = der(0xA3, b"\x13\x02US")
EDI_PARTY = der(0xA5, der(0xA0, der(0x0C, b"a")), der(0xA1, der(0x0C, b"b")))


def two_octets(reason: int) -> bytes:
    """A reasonCode with a leading zero, which DER forbids."""
    return encode_extension("2.5.29.21", der(0x0A, bytes((0, reason))))


def general_names() -> list[Vector]:
    """Names in distribution points that others took for something else."""
    odd = full_name_point(EDI_PARTY, X400)
    return [
        Vector(
            "revoked_by_x400_address",
            "A distribution point is matched by an x400Address and not by the ediPartyName "
            "before it: names are compared as whole octets.",
            "CVE-2023-0286, CVE-2020-1971",
            client(7, odd),
            (CA.der,),
            (crl(UNSPECIFIC, extensions=[scope(named(X400))]),),
        ),
        Vector(
            "undetermined_x400_address_of_another_type",
            "An x400Address whose contents are of another type is another name: comparing the "
            "two as one type read memory that was not there.",
            "CVE-2023-0286",
            client(7, odd),
            (CA.der,),
            (crl(UNSPECIFIC, extensions=[scope(named(X400_AS_STRING))]),),
            "out_of_scope",
        ),
        Vector(
            "undetermined_edi_party_name_against_null",
            "An ediPartyName that has only one of its two parts is not the same name.",
            "CVE-2020-1971",
            client(7, full_name_point(EDI_PARTY)),
            (CA.der,),
            (crl(UNSPECIFIC, extensions=[
                scope(named(der(0xA5, der(0xA1, der(0x0C, b"b")))))]),),
            "out_of_scope",
        ),
    ]  # fmt: skip


def scopes() -> list[Vector]:
    """Which CRL covers a certificate."""
    shard = crl(UNSPECIFIC, extensions=[scope(named(URI))])
    empty_shard = crl(extensions=[scope(named(URI))])
    namesake = authority(CA.certificate.subject.rfc4514_string()[3:], "another key")
    return [
        Vector(
            "revoked_by_second_distribution_point",
            "The CRL matches the second distribution point of the certificate, the first one "
            "none that is held.",
            "RUSTSEC-2026-0049",
            client(7, full_name_point(OTHER_URI), full_name_point(URI)),
            (CA.der,),
            (shard,),
        ),
        Vector(
            "revoked_by_second_name_of_a_distribution_point",
            "One distribution point has two names, and the CRL the second one.",
            "RUSTSEC-2026-0049",
            client(7, full_name_point(OTHER_URI, URI)),
            (CA.der,),
            (shard,),
        ),
        Vector(
            "undetermined_other_shard",
            "The only CRL held is the shard of other certificates: it does not list this one, "
            "and could not.",
            "AWS Private CA, partitioned CRLs",
            client(7, full_name_point(OTHER_URI)),
            (CA.der,),
            (empty_shard,),
            "out_of_scope",
        ),
        Vector(
            "revoked_beside_a_shard_without_scope",
            "A shard that lost its issuingDistributionPoint passes for a complete CRL; it takes "
            "nothing away from the right shard, which lists the certificate.",
            "mozilla/pkipolicy#256",
            client(7, full_name_point(URI)),
            (CA.der,),
            (shard, crl(number=2)),
        ),
        Vector(
            "undetermined_crl_by_a_namesake",
            "A CRL under the issuer's name, by a key that is not the issuer's, neither revokes "
            "nor clears anything.",
            "teleport#57822; OpenSSL 2394, 2358",
            client(7),
            (CA.der,),
            (crl(UNSPECIFIC, by=namesake),),
            "out_of_scope",
            ("key_id",),
        ),
        Vector(
            "undetermined_crl_by_a_trusted_namesake",
            "The same where that key is another trusted authority's of that name.",
            "teleport#57822",
            client(7),
            (CA.der, namesake.der),
            (crl(UNSPECIFIC, by=namesake),),
            "out_of_scope",
        ),
        Vector(
            "undetermined_crl_by_the_subject",
            "A CRL by the certificate's subject is not one by its issuer, even where it lists "
            "the certificate's serial number.",
            "CVE-2019-19270",
            client(7, subject="Other CA"),
            (CA.der, OTHER.der),
            (crl(UNSPECIFIC, by=OTHER),),
            "out_of_scope",
        ),
        Vector(
            "undetermined_without_any_crl",
            "Nothing at all is held for the issuer.",
            "CVE-2016-7052",
            client(7),
            (CA.der,),
            (),
            "out_of_scope",
        ),
        Vector(
            "undetermined_serial_of_another_issuer",
            "The serial number is on the CRL of another issuer only.",
            "x509-limbo: serial_on_crl_different_issuer",
            client(7),
            (CA.der, OTHER.der),
            (crl(UNSPECIFIC, by=OTHER),),
            "out_of_scope",
        ),
        Vector(
            "undetermined_issuer_without_crl_sign",
            "The issuer's keyUsage has no cRLSign, so its CRL is refused.",
            "x509-limbo: issuer_missing_crlsign",
            client(7, issuer=_may_not_sign()),
            (_may_not_sign().der,),
            (crl(UNSPECIFIC, by=_may_not_sign()),),
            "out_of_scope",
            ("key_usage",),
        ),
    ]


def _may_not_sign() -> CertificateAuthority:
    return authority("CA without cRLSign", may_sign_crls=False)


def entries() -> list[Vector]:
    """What stands in entries."""
    mixed = [1 << (8 * size) for size in (12, 3, 19, 0, 7)] + [7 << 16, 0x7F, 0xFF]
    mixed_entries = [encode_entry(serial, NOW - DAY) for serial in mixed]
    shuffled = [encode_entry(serial * 7919 % 1009, NOW - DAY) for serial in range(1, 60)]

    def plain(name: str, about: str, source: str, serial: int, *listed: bytes) -> Vector:
        return Vector(name, about, source, client(serial), (CA.der,), (crl(*listed),))

    return [
        plain("revoked_among_mixed_lengths", "Serial numbers of one to twenty octets in no "
              "order: a search that compares lengths first lost some.", "wolfSSL #9817",
              0xFF, *mixed_entries),
        plain("notrevoked_prefix_of_a_longer_serial", "A serial number that begins like a longer "
              "one that is listed.", "wolfSSL #9817", 7, *mixed_entries),
        plain("revoked_in_an_unsorted_list", "The entries are in no order, and a search in them "
              "must not depend on it.", "openssl#32693", 7919 * 13 % 1009, *shuffled),
        plain("revoked_from_a_date_in_the_future", "A revocationDate in the future does not "
              "suspend the revocation.", "CVE-2020-36425", 7, encode_entry(7, NOW + 90 * DAY)),
        plain("revoked_negative_serial", "A negative serial number is compared as the number "
              "that it is.", "PKITS 4.4.15", -1, encode_entry(-1, NOW - DAY)),
        plain("notrevoked_same_octets_without_sign", "255 is not -1, although the octet is the "
              "same.", "webpki, which compares octets", 255, encode_entry(-1, NOW - DAY)),
        plain("revoked_zero_serial", "Zero is a serial number where a CA uses it.", "xipki#189",
              0, encode_entry(0, NOW - DAY)),
        plain("revoked_remove_from_crl_in_a_complete_crl", "removeFromCRL has no place in a "
              "complete CRL and lifts nothing there.", "webpki; RFC 5280 5.3.1", 7,
              encode_entry(7, NOW - DAY, reason=8)),
        plain("revoked_duplicate_with_remove_from_crl", "The second of two entries does not take "
              "the first one back.", "openssl#27444", 7,
              encode_entry(7, NOW - DAY, reason=1), encode_entry(7, NOW - DAY, reason=8)),
        plain("revoked_reason_of_two_octets", "A reasonCode of two octets is no reason, and the "
              "entry revokes for good.", "openssl#32366", 7,
              encode_entry(7, NOW - DAY, extra_extensions=[two_octets(1)])),
        plain("revoked_invalidity_date_as_utctime", "An invalidityDate that is a UTCTime counts "
              "as absent.", "openssl#27445", 7,
              encode_entry(7, NOW - DAY, extra_extensions=[
                  encode_extension("2.5.29.24", der(0x17, b"260101000000Z"))])),
        plain("notrevoked_beside_a_reason_of_two_octets", "The odd reason of another entry voids "
              "nothing.", "openssl#32366", 7,
              encode_entry(8, NOW - DAY, extra_extensions=[two_octets(1)])),
        Vector("notrevoked_expired_certs_on_crl_as_utctime", "An expiredCertsOnCRL that is a "
               "UTCTime counts as absent.", "esig/dss DSS-1212", client(7), (CA.der,),
               (crl(encode_entry(8, NOW - DAY), extensions=[
                   encode_extension("2.5.29.60", der(0x17, b"260101000000Z"))]),)),
        plain("notrevoked_empty_crl", "A CRL without revokedCertificates lists nobody, and says "
              "so.", "CVE-2019-19269", 7),
        Vector("notrevoked_empty_list", "A CRL whose revokedCertificates is there and empty does "
               "too.", "CVE-2019-19269", client(7), (CA.der,), (crl(keep_empty_list=True),)),
    ]  # fmt: skip


def deltas() -> list[Vector]:
    """Delta CRLs."""
    held = crl(encode_entry(7, NOW - DAY, reason=6), extensions=[])
    lifting = crl(encode_entry(7, NOW - DAY, reason=8), number=2, extensions=[delta_of(1)])
    both = crl(encode_entry(7, NOW - DAY, reason=6), encode_entry(7, NOW - DAY, reason=1))
    return [
        Vector("notrevoked_hold_lifted_by_delta", "removeFromCRL in a delta CRL lifts a hold.",
               "RFC 5280 6.3.3 k", client(7), (CA.der,), (held, lifting)),
        Vector("revoked_removal_of_two_octets", "A reasonCode of two octets is not removeFromCRL, "
               "so it lifts no hold.", "RFC 5280 5.3.1", client(7), (CA.der,),
               (held, crl(encode_entry(7, NOW - DAY, extra_extensions=[two_octets(8)]), number=2,
                          extensions=[delta_of(1)]))),
        Vector("revoked_only_holds_are_lifted", "removeFromCRL lifts no other revocation.",
               "RFC 5280 5.3.1", client(7), (CA.der,),
               (crl(encode_entry(7, NOW - DAY, reason=1)), lifting)),
        Vector("revoked_duplicate_of_a_hold", "Of two entries one is a hold and one is not: "
               "lifting the hold leaves the other.", "openssl#27444", client(7), (CA.der,),
               (both, lifting)),
        Vector("revoked_by_delta", "The base does not list the certificate, the delta does.",
               "RFC 5280 6.3.3 i", client(7), (CA.der,),
               (crl(), crl(UNSPECIFIC, number=2, extensions=[delta_of(1)]))),
        Vector("unsupported_delta_without_crl_number", "A delta CRL without a CRL number cannot "
               "be ordered; others followed a null pointer.", "CVE-2026-28388", client(7),
               (CA.der,), (crl(), crl(UNSPECIFIC, number=None, extensions=[delta_of(1)])),
               "delta_without_crl_number"),
    ]  # fmt: skip


def indirect() -> list[Vector]:
    """Indirect CRLs: whose certificate an entry means."""
    point = der(0x30, der(0xA2, der(0xA4, name_of("CRL Issuer"))))
    of_other = encode_entry(7, NOW - DAY, certificate_issuer=name_of("Other CA"))
    of_ca = encode_entry(7, NOW - DAY, certificate_issuer=name_of("Vector CA"))
    after = encode_entry(8, NOW - DAY)
    issuers = (CA.der, OTHER.der, CRL_ISSUER.der)

    def listed(*items: bytes) -> tuple[bytes]:
        return (crl(*items, by=CRL_ISSUER, extensions=[INDIRECT]),)

    return [
        Vector("revoked_second_issuer_of_a_serial", "One serial number of two certificate "
               "issuers: the first entry is not this certificate's, the second is.",
               "bc-java isRevoked, #2425", client(7, point), issuers, listed(of_other, of_ca)),
        Vector("notrevoked_serial_of_another_certificate_issuer", "The serial number is listed "
               "for another certificate issuer.", "bc-java isRevoked", client(7, point), issuers,
               listed(of_other)),
        Vector("revoked_issuer_carried_over", "An entry without certificateIssuer has that of "
               "the entry before it.", "RFC 5280 5.3.3", client(8, point), issuers,
               listed(of_ca, after)),
        Vector("notrevoked_no_issuer_carried_over", "Before the first certificateIssuer, entries "
               "are the CRL issuer's own.", "RFC 5280 5.3.3", client(8, point), issuers,
               listed(after, of_ca)),
        Vector("undetermined_crl_issuer_without_indirect_crl", "The CRL of the cRLIssuer named "
               "does not say that it is indirect.", "RFC 5280 6.3.3 b 1; PKITS 4.14.27",
               client(7, point), issuers, (crl(by=CRL_ISSUER),), "out_of_scope"),
        Vector("malformed_certificate_issuer_without_indirect_crl", "certificateIssuer in a CRL "
               "that is not indirect.", "openssl#27465, #29018", client(7), (CA.der,),
               (crl(of_ca),), "certificate_issuer_without_indirect"),
    ]  # fmt: skip


def leniencies() -> list[Vector]:
    """Odd, and fine."""
    number = encode_extension("2.5.29.20", der_integer((1 << 159) - 1), critical=True)
    times = der(0x30, der_integer(8), der_generalized_time(NOW))
    return [
        Vector("notrevoked_crl_number_of_20_octets", "The longest CRL number there may be.",
               "CVE-2026-3548; wolfSSL#8557", client(7), (CA.der,),
               (crl(number=None, extensions=[number]),)),
        Vector("revoked_entry_time_in_another_form", "A GeneralizedTime where RFC 5280 has a "
               "UTCTime is warned about and read.", "webpki", client(8), (CA.der,),
               (crl(times),)),
    ]  # fmt: skip
