"""Personal data is taken out, and what only looks like it stays."""

import pytest

from app.scrub import Scrubber


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Write to ann.lee+news@mail.example.org.", "Write to <EMAIL>."),
        ("müller@büro.example, please", "<EMAIL>, please"),
        ("IBAN DE89 3704 0044 0532 0130 00 or GB82WEST12345698765432", "IBAN <IBAN> or <IBAN>"),
        ("Card 4111 1111 1111 1111, or 5500-0000-0000-0004.", "Card <CARD>, or <CARD>."),
        ("from 192.168.10.7 and [2001:db8::8a2e:370:7334], fe80::1", "from <IP> and [<IP>], <IP>"),
        ("+49 30 901820, +1 (212) 555-0123 or +442079460958", "<PHONE>, <PHONE> or <PHONE>"),
        ("Call (030) 1234567 or 0171/1234567", "Call <PHONE> or <PHONE>"),
        (
            "tel. 01 23 45 67 89; 212-555-0123; (212) 555-0123; 020 7946 0958.",
            "tel. <PHONE>; <PHONE>; <PHONE>; <PHONE>.",
        ),
    ],
)
def test_personal_data_is_taken_out(text: str, clean: str) -> None:
    assert Scrubber()(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "On 2024-03-01, 01.02.2024, 01/02/2024 and 1/2/24 at 12:30:45.",
        "From 01.02.2024 12:30 to 03-04-2025 10 people came.",
        "2024-03-01T12:30:45+00:00 and 20240301123045",
        "The tower cost 1,234,567.89 crowns, 10 000 000 in all, 0.123456789 of it.",
        "1990-2000, 1914-18, pages 100-120, 555-1234",
        "Order 1234567890, case 4111111111111112, count 100000000000",
        "GB82 WEST 1234 5698 7654 33 has wrong check digits",
        "ISBN 0-306-40615-2, ISBN-10: 0306406152, ISBN 978-3-16-148410-0",
        "Version 1.2.3.4, section 4.1.2.3, v10.0.0.1, 999.1.1.1 and 1.2.3",
        "std::vector<a::b>, 16:9, 10:00:30, sha 9f86d081884c7d65",
        "5 +12 -3 = 14; +1000000; 3.1415926535 and 007",
        "a@b, @handle and user@host",
        "Room 030 12 is 020 m long",
    ],
)
def test_plain_numbers_dates_and_code_stay(text: str) -> None:
    scrubber = Scrubber()
    assert scrubber(text) == text
    assert not scrubber.taken


def test_what_was_taken_is_counted_by_kind() -> None:
    scrubber = Scrubber()
    scrubber("a@b.example and c@d.example")
    scrubber("10.0.0.1")
    assert scrubber.taken == {"email": 2, "ip": 1}
