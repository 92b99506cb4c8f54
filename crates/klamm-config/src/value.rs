//! Types of values, and how their text is read (Kafka: `ConfigDef.parseType`).

/// The type of a key's value, as DescribeConfigs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    String,
    /// A 32-bit number.
    Int,
    /// A 16-bit number.
    Short,
    /// A 64-bit number.
    Long,
    /// A decimal number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is never shown.
    Password,
}

impl ConfigType {
    /// The number on the wire (Kafka: `DescribeConfigsResponse.ConfigType`).
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    pub(crate) fn normal(self, text: &str) -> Result<String, String> {
        // A password may end with a blank that is part of it.
        let trimmed = if self == Self::Password { text } else { text.trim() };
        let number = |what: &str| format!("expected {what}");
        match self {
            Self::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok("true".to_owned()),
            Self::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok("false".to_owned()),
            Self::Boolean => Err("expected true or false".to_owned()),
            Self::Int => match trimmed.parse::<i32>() {
                Ok(n) => Ok(n.to_string()),
                Err(_) => Err(number("a 32-bit number")),
            },
            Self::Short => match trimmed.parse::<i16>() {
                Ok(n) => Ok(n.to_string()),
                Err(_) => Err(number("a 16-bit number")),
            },
            Self::Long => match trimmed.parse::<i64>() {
                Ok(n) => Ok(n.to_string()),
                Err(_) => Err(number("a 64-bit number")),
            },
            Self::Double => match trimmed.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(trimmed.to_owned()),
                _ => Err(number("a decimal number")),
            },
            Self::List => Ok(items(trimmed).collect::<Vec<_>>().join(",")),
            Self::String | Self::Class | Self::Password => Ok(trimmed.to_owned()),
        }
    }
}

/// The items of a list value. An empty text has none.
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(move |item| !item.is_empty() || !list.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_kafka_reads_them() {
        assert_eq!(ConfigType::Boolean.normal(" TRUE "), Ok("true".into()));
        assert_eq!(ConfigType::Int.normal("+7"), Ok("7".into()));
        assert_eq!(ConfigType::List.normal(" a , b"), Ok("a,b".into()));
        assert_eq!(ConfigType::List.normal(""), Ok(String::new()));
        assert_eq!(ConfigType::Password.normal(" x "), Ok(" x ".into()));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert!(ConfigType::Boolean.normal("yes").is_err());
        for text in ["", "1.0", "2147483648", "1 000", "0x10", "10k"] {
            assert!(ConfigType::Int.normal(text).is_err(), "{text}");
        }
        assert!(ConfigType::Short.normal("32768").is_err());
        assert!(ConfigType::Long.normal("9223372036854775808").is_err());
        for text in ["", "NaN", "inf", "1,5"] {
            assert!(ConfigType::Double.normal(text).is_err(), "{text}");
        }
    }
}
