//! What the writer makes, refuses and leaves out.

use bytes::Bytes;
use klamm_codec::prelude::*;
use klamm_codec::{STRING_BYTES_MAX, Tags};

const FIXED: Form = Form { version: 0, flexible: false };
const COMPACT: Form = Form { version: 1, flexible: true };

fn check(write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>, expected: &[u8]) {
    let mut w = Writer::new();
    assert_eq!(write(&mut w), Ok(()));
    assert_eq!(w.as_slice(), expected);
}

#[test]
fn lengths_are_compact_in_flexible_versions() {
    check(|w| w.string(&Str::from("ab"), FIXED), &[0, 2, b'a', b'b']);
    check(|w| w.string(&Str::from("ab"), COMPACT), &[3, b'a', b'b']);
    check(|w| w.nullable_string(None, FIXED), &[0xff, 0xff]);
    check(|w| w.nullable_string(None, COMPACT), &[0]);
    check(|w| w.bytes(&Bytes::from_static(b"x"), FIXED), &[0, 0, 0, 1, b'x']);
    check(|w| w.nullable_bytes(None, FIXED), &[0xff; 4]);
    check(|w| w.array(&[1_i16, 2], FIXED), &[0, 0, 0, 2, 0, 1, 0, 2]);
    check(|w| w.array(&[1_i16, 2], COMPACT), &[3, 0, 1, 0, 2]);
    check(|w| w.nullable_array::<i16>(None, COMPACT), &[0]);
    check(|w| w.records(&RecordsField::Null, FIXED), &[0xff; 4]);
}

#[test]
fn a_text_longer_than_kafka_allows_is_refused_in_every_form() {
    let text = Str::from("a".repeat(STRING_BYTES_MAX + 1));
    for form in [FIXED, COMPACT] {
        let refused = Err(EncodeError::TooLong { length: STRING_BYTES_MAX + 1 });
        assert_eq!(Writer::new().string(&text, form), refused);
    }
}

fn value_of(tags: &mut Tags<'_>, tag: u32, length: usize) {
    let written = tags.field(tag, |w| {
        w.raw(&vec![7; length]);
        Ok(())
    });
    assert_eq!(written, Ok(()));
}

#[test]
fn tagged_fields_are_counted_and_have_their_size_in_front() {
    let mut w = Writer::new();
    let mut tags = w.tags();
    value_of(&mut tags, 0, 1);
    value_of(&mut tags, 5, 200);
    let expected = [&[2, 0, 1, 7, 5, 200, 1][..], &[7; 200]].concat();
    assert_eq!(w.as_slice(), expected);
}

#[test]
fn the_size_of_a_tagged_field_counts_what_is_deferred_and_the_cut_moves_with_it() {
    let write = |records: RecordsField| {
        let mut w = Writer::new();
        w.i32(1);
        w.tags().field(0, |w| w.records(&records, COMPACT)).unwrap();
        w.i8(9);
        w
    };
    let whole = write(RecordsField::Bytes(Bytes::from(vec![7; 300])));
    let deferred = write(RecordsField::Deferred(300));
    let cut = deferred.cuts()[0];
    let (before, after) = deferred.as_slice().split_at(cut);
    assert_eq!([before, &[7; 300], after].concat(), whole.as_slice());
    assert_eq!(deferred.len() + deferred.deferred_bytes(), whole.len());
    assert_eq!(deferred.into_parts().1, [cut]);
}

#[test]
fn a_recycled_buffer_keeps_what_it_holds() {
    let mut w = Writer::from_vec(vec![0; 4]);
    w.i16(5);
    let length = w.len() as i32 - 4;
    w.set_i32(0, length);
    assert_eq!(w.into_vec(), [0, 0, 0, 2, 0, 5]);
}

#[test]
fn a_field_that_would_be_lost_or_null_where_it_must_not_be_is_refused() {
    assert_eq!(absent(true, "X.a", 3), Ok(()));
    assert_eq!(
        absent(false, "X.a", 3).map_err(|error| error.to_string()),
        Err("X.a has a value, and version 3 has no such field".to_owned())
    );
    assert_eq!(
        present(false, "X.a", 3).map_err(|error| error.to_string()),
        Err("X.a is null, which version 3 cannot tell".to_owned())
    );
}
