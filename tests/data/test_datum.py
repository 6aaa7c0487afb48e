"""Datum in protobuf's wire format, checked against protobuf itself."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from distq.data.datum import Datum, decode_datum, encode_datum


def _protobuf_datum():
    """The message class of caffe.proto's Datum."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="datum.proto", package="t", syntax="proto2")
    message = file.message_type.add(name="Datum")
    for name, number, kind in (
        ("channels", 1, field.TYPE_INT32),
        ("height", 2, field.TYPE_INT32),
        ("width", 3, field.TYPE_INT32),
        ("data", 4, field.TYPE_BYTES),
        ("label", 5, field.TYPE_INT32),
        ("float_data", 6, field.TYPE_FLOAT),
        ("encoded", 7, field.TYPE_BOOL),
    ):
        label = field.LABEL_REPEATED if name == "float_data" else field.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Datum"))


PROTOBUF = _protobuf_datum()
LABELS = st.none() | st.integers(-(2**31), 2**31 - 1)
FLOATS = st.floats(width=32, allow_nan=False)


@st.composite
def datums(draw):
    kind = draw(st.sampled_from(["raw", "float", "encoded"]))
    label = draw(LABELS)
    if kind == "encoded":
        return Datum(data=draw(st.binary(min_size=1, max_size=300)), label=label, encoded=True)
    channels, height, width = (draw(st.integers(1, 4)) for _ in range(3))
    size = channels * height * width
    if kind == "raw":
        return Datum(channels, height, width, draw(st.binary(min_size=size, max_size=size)), label)
    values = tuple(draw(st.lists(FLOATS, min_size=size, max_size=size)))
    return Datum(channels, height, width, label=label, float_data=values)


def same(one: Datum, other: Datum) -> bool:
    plain = ("channels", "height", "width", "data", "label", "encoded")
    return all(getattr(one, name) == getattr(other, name) for name in plain) and np.array_equal(
        np.asarray(one.float_data, np.float32), np.asarray(other.float_data, np.float32)
    )


@given(datums())
def test_any_datum_survives_writing_and_reading(datum):
    assert same(decode_datum(encode_datum(datum)), datum)


@given(datums())
def test_protobuf_reads_what_we_write_and_we_read_what_it_writes(datum):
    message = PROTOBUF.FromString(encode_datum(datum))
    assert (message.channels, message.height, message.width) == datum.shape
    assert message.data == datum.data
    assert list(message.float_data) == list(datum.float_data)
    assert message.encoded == datum.encoded
    assert (message.label if message.HasField("label") else None) == datum.label
    assert same(decode_datum(message.SerializeToString()), datum)


@given(datums())
def test_an_annotated_datum_is_read_as_its_datum(datum):
    inner = encode_datum(datum)
    length = len(inner)
    varint = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    annotated = b"\x0a" + varint + inner + b"\x10\x01"  # and type = 1
    assert same(decode_datum(annotated), datum)


@given(st.binary(max_size=200))
def test_bytes_of_anything_else_are_refused_or_consistent(data):
    try:
        datum = decode_datum(data)
    except ValueError:
        return
    stored = len(datum.float_data) or len(datum.data)
    assert datum.encoded or stored == np.prod(datum.shape)


@given(datums(), st.data())
def test_a_datum_cut_short_is_refused_or_another_datum(datum, data):
    whole = encode_datum(datum)
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        read = decode_datum(whole[:cut])
    except ValueError:
        return
    trailing = whole[cut:] == b"\x38\x00"  # "not encoded" is what its absence means too
    assert trailing or not same(read, datum)


def test_a_record_of_pixels_is_the_bytes_that_caffe_writes():
    datum = Datum(3, 1, 2, b"abcdef", 300)
    assert encode_datum(datum).hex(" ") == "08 03 10 01 18 02 22 06 61 62 63 64 65 66 28 ac 02 38 00"


def test_an_encoded_record_is_the_bytes_that_caffe_writes():
    assert encode_datum(Datum(data=b"\xff\xd8", label=0, encoded=True)).hex(" ") == "22 02 ff d8 28 00 38 01"


def test_a_record_of_floats_is_the_bytes_that_caffe_writes():
    """As its extract_features does: unpacked floats, and nothing about an encoding."""
    datum = Datum(1, 1, 1, float_data=(1.5,), label=7)
    assert encode_datum(datum).hex(" ") == "08 01 10 01 18 01 28 07 35 00 00 c0 3f"


def test_packed_floats_and_unknown_fields_are_read():
    values = np.asarray([1.5, -2.0], "<f4").tobytes()
    data = b"\x08\x01\x10\x01\x18\x02" + b"\x32\x08" + values + b"\x7a\x02zz"
    assert list(decode_datum(data).float_data) == [1.5, -2.0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "states no channels"),
        (b"\x38\x01", "holds no image"),
        (b"\x08\x01\x10\x02\x18\x02\x22\x03abc", "holds 3 values, 1x2x2 is 4"),
        (b"\x22\x7fabc", "ends early"),
        (b"\xff" * 20, "no protobuf message"),
    ],
)
def test_the_error_says_what_is_wrong(data, reason):
    with pytest.raises(ValueError, match=reason):
        decode_datum(data)
