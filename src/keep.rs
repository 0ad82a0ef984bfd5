//! How state is written down, to go on from after a restart: every value one after the other, in
//! the order of its fields, little-endian, without names or gaps.
//!
//! Nothing is guessed when it is read back: a field more or less is another version of the whole.
//! `kept!` takes a struct apart without a rest pattern, so a new field that nobody keeps does not
//! compile. What is said of a function for the *next* engine (`engine/learned.rs`) has a form of
//! its own, in words, without what is going on; here everything is kept, bit by bit.
//!
//! Whether bytes are those that were written is for whoever stores them to say. Here nothing is
//! believed of them: counts fit what is left, limits are the ones that hold while running.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The form of everything that is kept; to be raised with any change of any of it.
pub const FORM: u32 = 2;

/// Bytes that are no state of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not hold what it should")]
pub struct Unfit;

/// Something that outlives the process.
pub trait Keep: Sized {
    /// Appends it.
    fn keep(&self, out: &mut Vec<u8>);

    /// Reads it back.
    ///
    /// # Errors
    /// The bytes end, or say what cannot be.
    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit>;
}

/// Bytes that are read from front to back.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// All of them.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next so many.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Unfit> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Unfit)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A count of things that have a byte each at least.
    ///
    /// # Errors
    /// What is left is too short for them.
    pub fn count(&mut self) -> Result<usize, Unfit> {
        let count = usize::try_from(u32::regain(self)?).map_err(|_| Unfit)?;
        if count <= self.rest.len() { Ok(count) } else { Err(Unfit) }
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Bytes as a value, for what is kept in one piece.
pub fn written(value: &impl Keep) -> Vec<u8> {
    let mut out = Vec::new();
    value.keep(&mut out);
    out
}

/// The value that the bytes are, all of them.
///
/// # Errors
/// They are no such value, or more than one.
pub fn read<T: Keep>(bytes: &[u8]) -> Result<T, Unfit> {
    let mut bytes = Bytes::new(bytes);
    let value = T::regain(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(Unfit) }
}

/// Writes how many follow.
pub fn keep_count(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).unwrap_or(u32::MAX).keep(out);
}

/// Fails where a bound does not hold.
///
/// # Errors
/// It does not.
pub const fn ensure(holds: bool) -> Result<(), Unfit> {
    if holds { Ok(()) } else { Err(Unfit) }
}

/// Says that a struct is kept field by field; all have to be named. What is put behind `if` must
/// hold of what is read back.
macro_rules! kept {
    ($type:ty { $($field:ident),* $(,)? }) => {
        $crate::keep::kept!($type { $($field),* } if |_| true);
    };
    ($type:ty { $($field:ident),* $(,)? } if |$value:pat_param| $holds:expr) => {
        impl $crate::keep::Keep for $type {
            fn keep(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($crate::keep::Keep::keep($field, out);)*
            }

            fn regain(
                from: &mut $crate::keep::Bytes<'_>,
            ) -> Result<Self, $crate::keep::Unfit> {
                let it = Self { $($field: $crate::keep::Keep::regain(from)?),* };
                let holds = |$value: &Self| $holds;
                $crate::keep::ensure(holds(&it))?;
                Ok(it)
            }
        }
    };
}
pub(crate) use kept;

/// Says by which byte each word of an enum is kept.
macro_rules! kept_words {
    ($type:ty { $($word:ident = $code:literal),* $(,)? }) => {
        impl $crate::keep::Keep for $type {
            fn keep(&self, out: &mut Vec<u8>) {
                out.push(match self { $(Self::$word => $code),* });
            }

            fn regain(
                from: &mut $crate::keep::Bytes<'_>,
            ) -> Result<Self, $crate::keep::Unfit> {
                match u8::regain(from)? {
                    $($code => Ok(Self::$word),)*
                    _ => Err($crate::keep::Unfit),
                }
            }
        }
    };
}
pub(crate) use kept_words;

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Keep for $number {
            fn keep(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
                let bytes = from.take(size_of::<Self>())?;
                Ok(Self::from_le_bytes(bytes.try_into().map_err(|_| Unfit)?))
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64 u128 i8 i32 i64 f32 f64);

impl Keep for bool {
    fn keep(&self, out: &mut Vec<u8>) {
        out.push((*self).into());
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        match u8::regain(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unfit),
        }
    }
}

impl Keep for usize {
    fn keep(&self, out: &mut Vec<u8>) {
        u64::try_from(*self).unwrap_or(u64::MAX).keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        usize::try_from(u64::regain(from)?).map_err(|_| Unfit)
    }
}

impl<T: Keep> Keep for Option<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        self.is_some().keep(out);
        if let Some(value) = self {
            value.keep(out);
        }
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        bool::regain(from)?.then(|| T::regain(from)).transpose()
    }
}

impl<T: Keep> Keep for Box<T> {
    fn keep(&self, out: &mut Vec<u8>) {
        (**self).keep(out);
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        T::regain(from).map(Box::new)
    }
}

impl<T: Keep, const N: usize> Keep for [T; N] {
    fn keep(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.keep(out));
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        let values: Vec<T> = (0..N).map(|_| T::regain(from)).collect::<Result<_, _>>()?;
        values.try_into().map_err(|_| Unfit)
    }
}

impl Keep for String {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_count(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        let count = from.count()?;
        let text = std::str::from_utf8(from.take(count)?).map_err(|_| Unfit)?;
        Ok(text.to_owned())
    }
}

impl Keep for Box<str> {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_count(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        String::regain(from).map(String::into_boxed_str)
    }
}

macro_rules! lists {
    ($($list:ident<$($of:ident $(: $bound:ident)?),+> of $item:ty;)*) => {$(
        impl<$($of: Keep $(+ $bound)?),+> Keep for $list<$($of),+> {
            fn keep(&self, out: &mut Vec<u8>) {
                keep_count(self.len(), out);
                for item in self {
                    item.keep(out);
                }
            }

            fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
                let count = from.count()?;
                (0..count).map(|_| <$item>::regain(from)).collect()
            }
        }
    )*};
}
lists! {
    Vec<T> of T;
    VecDeque<T> of T;
    BTreeSet<T: Ord> of T;
}

impl<K: Keep + Ord, V: Keep> Keep for BTreeMap<K, V> {
    fn keep(&self, out: &mut Vec<u8>) {
        keep_count(self.len(), out);
        for (key, value) in self {
            key.keep(out);
            value.keep(out);
        }
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        let count = from.count()?;
        (0..count).map(|_| <(K, V)>::regain(from)).collect()
    }
}

macro_rules! tuples {
    ($(($($of:ident $place:tt),+))*) => {$(
        impl<$($of: Keep),+> Keep for ($($of,)+) {
            fn keep(&self, out: &mut Vec<u8>) {
                $(self.$place.keep(out);)+
            }

            fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
                Ok(($($of::regain(from)?,)+))
            }
        }
    )*};
}
tuples!((A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Sample {
        number: i64,
        share: f32,
        name: String,
        list: Vec<(u32, bool)>,
        map: BTreeMap<u8, Option<Box<str>>>,
        pair: [u16; 2],
    }
    kept!(Sample { number, share, name, list, map, pair } if |it| it.list.len() < 5);

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Word {
        Yes,
        No,
    }
    kept_words!(Word { Yes = 1, No = 2 });

    prop_compose! {
        fn sample()(
            number in any::<i64>(),
            share in any::<f32>().prop_filter("a number", |share| !share.is_nan()),
            name in ".{0,20}",
            list in proptest::collection::vec(any::<(u32, bool)>(), 0..5),
            map in proptest::collection::btree_map(
                any::<u8>(), proptest::option::of(".{0,9}".prop_map(String::into_boxed_str)), 0..5,
            ),
            pair in any::<[u16; 2]>(),
        ) -> Sample {
            Sample { number, share, name, list, map, pair }
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back_and_no_part_of_it_does(sample in sample()) {
            let bytes = written(&sample);
            prop_assert_eq!(read::<Sample>(&bytes), Ok(sample));
            for end in 0..bytes.len() {
                prop_assert_eq!(read::<Sample>(&bytes[..end]), Err(Unfit));
            }
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(read::<Sample>(&longer), Err(Unfit));
        }

        #[test]
        fn whatever_is_read_neither_panics_nor_takes_memory(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            drop(read::<Sample>(&bytes));
            drop(read::<Vec<Vec<u64>>>(&bytes));
        }
    }

    #[test]
    fn words_and_bounds_are_held() {
        assert_eq!(read(&written(&Word::No)), Ok(Word::No));
        assert_eq!(read::<Word>(&[0]), Err(Unfit));
        assert_eq!(read::<bool>(&[2]), Err(Unfit));
        assert_eq!(read::<String>(&[2, 0, 0, 0, 0xff, 0xff]), Err(Unfit));
        let list = vec![(1, true); 5];
        let (number, share, name) = (0, 0.0, String::new());
        let sample = Sample { number, share, name, list, map: BTreeMap::new(), pair: [0; 2] };
        assert_eq!(read::<Sample>(&written(&sample)), Err(Unfit));
    }
}
