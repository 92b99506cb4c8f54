//! What the reader takes and refuses, through a schema made up for the purpose.

use bytes::Bytes;
use klamm_codec::prelude::*;
use klamm_codec::{ARRAY_COUNT_MAX, STRING_BYTES_MAX, TAG_COUNT_MAX, memory_max};
use proptest::prelude::*;

const FIXED: Form = Form { version: 0, flexible: false };
const COMPACT: Form = Form { version: 1, flexible: true };

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

/// Checks one read of all of `input`.
fn check<T: PartialEq + std::fmt::Debug>(
    input: &[u8],
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    expected: Result<T, DecodeError>,
) {
    let mut r = reader(input);
    let taken = read(&mut r);
    if taken.is_ok() {
        assert_eq!(r.finish(), Ok(()), "{input:02x?}");
    }
    match (taken, expected) {
        (Ok(taken), Ok(expected)) => assert_eq!(taken, expected, "{input:02x?}"),
        (Err(taken), Err(expected)) => assert_eq!(taken, expected, "{input:02x?}"),
        (taken, expected) => panic!("{input:02x?}: {taken:?} instead of {expected:?}"),
    }
}

/// One wire byte and 64 bytes of memory: the worst that a schema could be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fat([u64; 8]);

impl Element for Fat {
    fn bytes_min(_: Form) -> usize {
        1
    }

    fn read(r: &mut Reader, _: Form) -> Result<Self, DecodeError> {
        r.i8().map(|value| Self([value as u64; 8]))
    }

    fn write(&self, w: &mut Writer, _: Form) -> Result<(), EncodeError> {
        w.i8(self.0[0] as i8);
        Ok(())
    }
}

#[test]
fn integers_are_read_high_byte_first() {
    check(&[0xff], Reader::i8, Ok(-1));
    check(&[1, 2], Reader::i16, Ok(0x102));
    check(&[0xff, 0xfe], Reader::u16, Ok(0xfffe));
    check(&[1, 2, 3, 4], Reader::i32, Ok(0x0102_0304));
    check(&[0xff; 4], Reader::u32, Ok(u32::MAX));
    check(&[0xff; 8], Reader::i64, Ok(-1));
    check(&[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Reader::f64, Ok(1.5));
    check(&[2], Reader::bool, Ok(true));
}

#[test]
fn a_value_that_the_input_ends_in_is_refused() {
    let truncated = |at, needed, remaining| DecodeError::Truncated { at, needed, remaining };
    check(&[], Reader::bool, Err(truncated(0, 1, 0)));
    check(&[1, 2, 3], Reader::i32, Err(truncated(0, 4, 3)));
    check(&[0; 15], Reader::uuid, Err(truncated(0, 16, 15)));
    check(&[0, 3, b'a'], |r| r.string(FIXED), Err(truncated(2, 3, 1)));
    check(&[4, b'a'], |r| r.string(COMPACT), Err(truncated(1, 3, 1)));
    check(&[0, 0, 0, 2, 9], |r| r.bytes(FIXED), Err(truncated(4, 2, 1)));
    check(&[0x80, 0x80], Reader::unsigned_varint, Err(truncated(0, 3, 2)));
}

#[test]
fn a_varint_that_does_not_fit_is_refused() {
    check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Reader::unsigned_varint, Ok(u32::MAX));
    let too_long = Err(DecodeError::VarintTooLong { at: 0 });
    check(&[0xff, 0xff, 0xff, 0xff, 0x1f], Reader::unsigned_varint, too_long.clone());
    check(&[0x80; 6], Reader::unsigned_varint, too_long);
}

#[test]
fn null_is_a_value_only_where_it_is_asked_for() {
    let null = || Err(DecodeError::NullNotAllowed { at: 0 });
    check(&[0xff, 0xff], |r| r.nullable_string(FIXED), Ok(None));
    check(&[0], |r| r.nullable_string(COMPACT), Ok(None));
    check(&[0xff, 0xff], |r| r.string(FIXED), null());
    check(&[0], |r| r.string(COMPACT), Err(DecodeError::NullNotAllowed { at: 0 }));
    check(&[0xff; 4], |r| r.nullable_bytes(FIXED), Ok(None));
    check(&[0], |r| r.bytes(COMPACT), Err(DecodeError::NullNotAllowed { at: 0 }));
    check(&[0xff; 4], |r| r.nullable_array::<i32>(FIXED), Ok(None));
    check(&[0], |r| r.array::<i32>(COMPACT), Err(DecodeError::NullNotAllowed { at: 0 }));
    check(&[0xff; 4], |r| r.nullable_records(FIXED), Ok(RecordsField::Null));
    check(&[0xff; 4], |r| r.records(FIXED), Err(DecodeError::NullNotAllowed { at: 0 }));
    check(&[0xff], |r| r.nullable_struct::<Fat>(COMPACT), Ok(None));
    check(&[1, 7], |r| r.nullable_struct::<Fat>(COMPACT), Ok(Some(Fat([7; 8]))));
    check(&[0], |r| r.tagged_nullable_struct::<Fat>(COMPACT), Ok(None));
    check(&[1, 7], |r| r.tagged_nullable_struct::<Fat>(COMPACT), Ok(Some(Fat([7; 8]))));
}

#[test]
fn a_length_below_the_one_that_means_null_is_refused() {
    let negative = |length| DecodeError::NegativeLength { at: 0, length };
    check(&[0xff, 0xfe], |r| r.nullable_string(FIXED), Err(negative(-2)));
    check(&[0xff, 0xff, 0xff, 0xfe], |r| r.nullable_bytes(FIXED), Err(negative(-2)));
    check(&[0x80, 0, 0, 0], |r| r.nullable_array::<i8>(FIXED), Err(negative(i32::MIN)));
}

#[test]
fn a_text_is_utf8_and_no_longer_than_kafka_allows() {
    check(&[2, b'a'], |r| r.string(COMPACT), Ok(Str::from("a")));
    check(&[2, 0xff], |r| r.string(COMPACT), Err(DecodeError::NotUtf8 { at: 0 }));
    let mut long = Writer::new();
    long.unsigned_varint(STRING_BYTES_MAX as u32 + 2);
    long.raw(&vec![b'a'; STRING_BYTES_MAX + 1]);
    let length = STRING_BYTES_MAX + 1;
    let refused = Err(DecodeError::StringTooLong { at: 0, length });
    check(long.as_slice(), |r| r.string(COMPACT), refused);
}

#[test]
fn texts_and_bytes_are_slices_of_the_frame() {
    let frame = Bytes::from_static(&[0, 1, b'a', 0, 0, 0, 2, 8, 9]);
    let mut r = Reader::new(frame.clone());
    let text = r.string(FIXED).unwrap();
    let bytes = r.bytes(FIXED).unwrap();
    assert_eq!(text.as_bytes().as_ptr(), frame[2..].as_ptr());
    assert_eq!(bytes.as_ptr(), frame[7..].as_ptr());
}

#[test]
fn an_array_that_claims_more_than_the_input_can_hold_is_refused_before_memory_is_taken() {
    let too_many = |count, count_max| DecodeError::TooManyElements { at: 0, count, count_max };
    check(&[0, 0, 0, 2, 0, 1, 0], |r| r.array::<i16>(FIXED), Err(too_many(2, 1)));
    check(
        &[0x7f, 0xff, 0xff, 0xff, 0],
        |r| r.array::<Fat>(FIXED),
        Err(too_many(i32::MAX as usize, 1)),
    );
    let mut input = vec![0; ARRAY_COUNT_MAX + 5];
    input[..4].copy_from_slice(&(ARRAY_COUNT_MAX as i32 + 1).to_be_bytes());
    check(&input, |r| r.array::<i8>(FIXED), Err(too_many(ARRAY_COUNT_MAX + 1, ARRAY_COUNT_MAX)));
}

#[test]
fn an_array_takes_no_more_memory_than_its_input_is_worth() {
    let read = |count: usize| {
        let mut input = (count as i32).to_be_bytes().to_vec();
        input.resize(4 + count, 7);
        let bytes = input.len();
        (bytes, reader(&input).array::<Fat>(FIXED))
    };
    let (bytes, good) = read(1_300);
    let good = good.unwrap();
    assert!(good.capacity() * size_of::<Fat>() <= memory_max(bytes));
    assert_eq!(good.len(), 1_300);
    let (bytes, refused) = read(2_000);
    assert_eq!(
        refused,
        Err(DecodeError::MemoryExceeded { at: 0, needed: 128_000, left: memory_max(bytes) })
    );
}

#[test]
fn nested_arrays_share_one_budget() {
    // Each inner array is small; together they are worth more than the input.
    let inner = [[0, 0, 0, 4].as_slice(), &[7; 4]].concat();
    let mut r = reader(&inner.repeat(1_000));
    let outcome: Result<Vec<_>, _> = (0..1_000).map(|_| r.array::<Fat>(FIXED)).collect();
    assert!(matches!(outcome, Err(DecodeError::MemoryExceeded { .. })), "{outcome:?}");
}

/// Reads tagged fields of which tag 1 is an i16.
fn tagged(r: &mut Reader) -> Result<i16, DecodeError> {
    let mut value = 0;
    r.tags(COMPACT, |r, tag| {
        match tag {
            1 => value = r.i16()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(value)
}

#[test]
fn tagged_fields_may_be_unknown_repeated_and_out_of_order_as_in_kafka() {
    check(&[0], tagged, Ok(0));
    check(&[1, 1, 2, 0, 5], tagged, Ok(5));
    check(&[3, 9, 3, 8, 8, 8, 1, 2, 0, 5, 1, 2, 0, 6], tagged, Ok(6));
    check(&[1, 9, 0], |r| r.end_struct(COMPACT), Ok(()));
    check(&[], |r| r.end_struct(FIXED), Ok(()));
}

#[test]
fn a_tagged_field_ends_where_its_size_says() {
    check(
        &[1, 1, 3, 0, 5, 0],
        tagged,
        Err(DecodeError::TaggedFieldSize { tag: 1, size: 3, taken: 2 }),
    );
    check(
        &[1, 1, 1, 0, 5],
        tagged,
        Err(DecodeError::TaggedFieldSize { tag: 1, size: 1, taken: 2 }),
    );
    check(&[1, 9, 4, 0], tagged, Err(DecodeError::Truncated { at: 3, needed: 4, remaining: 1 }));
    let mut many = Writer::new();
    many.unsigned_varint(TAG_COUNT_MAX as u32 + 1);
    let count = TAG_COUNT_MAX + 1;
    check(many.as_slice(), tagged, Err(DecodeError::TooManyTags { at: 0, count }));
}

#[test]
fn an_error_says_where_and_how_much() {
    let texts = [
        DecodeError::Truncated { at: 3, needed: 4, remaining: 1 }.to_string(),
        DecodeError::TooManyElements { at: 3, count: 9, count_max: 2 }.to_string(),
        DecodeError::TrailingBytes { at: 3, count: 9 }.to_string(),
    ];
    assert_eq!(texts[0], "value at byte 3 takes 4 bytes, 1 are left");
    assert_eq!(texts[1], "array at byte 3 claims 9 elements, at most 2 fit");
    assert_eq!(texts[2], "message ends at byte 3, 9 bytes follow");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(512)
    })]

    #[test]
    fn primitives_are_read_back_as_they_were_written(
        text in ".{0,40}",
        blob in proptest::collection::vec(any::<u8>(), 0..300),
        numbers in proptest::collection::vec(any::<i64>(), 0..20),
        varint in any::<u32>(),
        flexible in any::<bool>(),
    ) {
        let form = Form { version: 0, flexible };
        let (text, blob) = (Str::from(text), Bytes::from(blob));
        let mut w = Writer::new();
        w.string(&text, form).unwrap();
        w.nullable_string(None, form).unwrap();
        w.bytes(&blob, form).unwrap();
        w.array(&numbers, form).unwrap();
        w.unsigned_varint(varint);
        let mut r = Reader::new(Bytes::from(w.into_vec()));
        prop_assert_eq!(r.string(form), Ok(text));
        prop_assert_eq!(r.nullable_string(form), Ok(None));
        prop_assert_eq!(r.bytes(form), Ok(blob));
        prop_assert_eq!(r.array::<i64>(form), Ok(numbers));
        prop_assert_eq!(r.unsigned_varint(), Ok(varint));
        prop_assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn garbage_never_takes_more_memory_than_it_is_worth(
        input in proptest::collection::vec(any::<u8>(), 0..2_000),
        flexible in any::<bool>(),
    ) {
        let form = Form { version: 0, flexible };
        if let Ok(array) = reader(&input).array::<Fat>(form) {
            prop_assert!(array.capacity() * size_of::<Fat>() <= memory_max(input.len()));
        }
        if let Ok(texts) = reader(&input).array::<Str>(form) {
            prop_assert!(texts.capacity() * size_of::<Str>() <= memory_max(input.len()));
        }
    }
}
