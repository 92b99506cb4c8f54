//! Enums over all records of a log, told apart by number. Made here once, listed by the
//! generated code.

/// Declares an enum with a variant for each record, and how each is read and written.
macro_rules! record_kinds {
    (
        $(#[$docs:meta])+
        $name:ident of $of:literal { $($variant:ident($record:ty) = $code:literal,)+ }
    ) => {
        $(#[$docs])+
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $(
                #[doc = concat!("Number ", $code, ".")]
                $variant($record),
            )+
        }

        impl $name {
            /// The record's number.
            #[must_use]
            pub const fn kind(&self) -> i16 {
                match self {
                    $(Self::$variant(_) => $code,)+
                }
            }

            /// Kafka's name of the record's schema.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$record as klamm_codec::Message>::NAME,)+
                }
            }

            /// The versions that a record of this number has; `None` if there is no such record.
            #[must_use]
            pub const fn versions(kind: i16) -> Option<std::ops::RangeInclusive<i16>> {
                match kind {
                    $($code => Some(<$record as klamm_codec::Message>::VERSIONS),)+
                    _ => None,
                }
            }

            /// Reads a record of this number and version.
            ///
            /// # Errors
            /// There is no such record, or the bytes are not one.
            pub fn decode(
                kind: i16,
                version: i16,
                r: &mut klamm_codec::Reader,
            ) -> Result<Self, klamm_codec::DecodeError> {
                use klamm_codec::Message as _;
                match kind {
                    $($code => <$record>::decode(r, version).map(Self::$variant),)+
                    _ => Err(klamm_codec::DecodeError::UnknownKind { of: $of, kind: i64::from(kind) }),
                }
            }

            /// Appends the record, without its number and version.
            ///
            /// # Errors
            /// The version cannot tell it.
            pub fn encode(
                &self,
                w: &mut klamm_codec::Writer,
                version: i16,
            ) -> Result<(), klamm_codec::EncodeError> {
                use klamm_codec::Message as _;
                match self {
                    $(Self::$variant(record) => record.encode(w, version),)+
                }
            }
        }

        $(
            impl From<$record> for $name {
                fn from(record: $record) -> Self {
                    Self::$variant(record)
                }
            }
        )+
    };
}

pub(crate) use record_kinds;
