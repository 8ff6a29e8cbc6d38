//! A serialiser in front of another: it masks the texts of a value, which are its strings and the keys of its maps, and leaves
//! the names of fields and variants alone. Those are ours, and without them the value could not be read again.

use std::fmt::Display;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::Redactor;

/// A value that is serialised with its texts masked.
pub(super) struct Masked<'a, T: ?Sized> {
    pub(super) value: &'a T,
    pub(super) redactor: &'a Redactor,
}

impl<T: Serialize + ?Sized> Serialize for Masked<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Masking { inner: serializer, redactor: self.redactor })
    }
}

/// A serialiser, or one of its helpers for composed values, behind the mask.
struct Masking<'a, S> {
    inner: S,
    redactor: &'a Redactor,
}

impl<'a, S> Masking<'a, S> {
    fn masked<'v, T: ?Sized>(&self, value: &'v T) -> Masked<'v, T>
    where
        'a: 'v,
    {
        Masked { value, redactor: self.redactor }
    }
}

/// Values that hold no text.
macro_rules! pass_on {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        })*
    };
}

/// Composed values: the inner serialiser's helper, behind the mask.
macro_rules! compose {
    ($($method:ident($($name:ident: $type:ty),*) -> $helper:ident),* $(,)?) => {
        $(fn $method(self, $($name: $type),*) -> Result<Self::$helper, S::Error> {
            Ok(Masking { inner: self.inner.$method($($name),*)?, redactor: self.redactor })
        })*
    };
}

impl<'a, S: Serializer> Serializer for Masking<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Masking<'a, S::SerializeSeq>;
    type SerializeTuple = Masking<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Masking<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Masking<'a, S::SerializeTupleVariant>;
    type SerializeMap = Masking<'a, S::SerializeMap>;
    type SerializeStruct = Masking<'a, S::SerializeStruct>;
    type SerializeStructVariant = Masking<'a, S::SerializeStructVariant>;

    fn serialize_str(self, text: &str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_str(&self.redactor.text(text))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.serialize_str(&value.to_string())
    }

    pass_on! {
        serialize_bool: bool, serialize_char: char, serialize_bytes: &[u8], serialize_unit_struct: &'static str,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_unit_variant(self, name: &'static str, i: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, i, variant)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let masked = self.masked(value);
        self.inner.serialize_some(&masked)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        let masked = self.masked(value);
        self.inner.serialize_newtype_struct(name, &masked)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        i: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let masked = self.masked(value);
        self.inner.serialize_newtype_variant(name, i, variant, &masked)
    }

    compose! {
        serialize_seq(len: Option<usize>) -> SerializeSeq,
        serialize_tuple(len: usize) -> SerializeTuple,
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct,
        serialize_tuple_variant(name: &'static str, i: u32, variant: &'static str, len: usize) -> SerializeTupleVariant,
        serialize_map(len: Option<usize>) -> SerializeMap,
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct,
        serialize_struct_variant(name: &'static str, i: u32, variant: &'static str, len: usize) -> SerializeStructVariant,
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Helpers whose parts have no names.
macro_rules! unnamed {
    ($($helper:ident: $method:ident),* $(,)?) => {
        $(impl<S: $helper> $helper for Masking<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let masked = self.masked(value);
                self.inner.$method(&masked)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

unnamed! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

/// Helpers whose parts are fields of ours.
macro_rules! named {
    ($($helper:ident),* $(,)?) => {
        $(impl<S: $helper> $helper for Masking<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), S::Error> {
                let masked = self.masked(value);
                self.inner.serialize_field(name, &masked)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

named!(SerializeStruct, SerializeStructVariant);

impl<S: SerializeMap> SerializeMap for Masking<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        let masked = self.masked(key);
        self.inner.serialize_key(&masked)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let masked = self.masked(value);
        self.inner.serialize_value(&masked)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}
