//! The shapes of the standard library's types, as serde writes them.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{NonZero, Saturating, Wrapping};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use super::{Choice, Field, Node, Scalar, Shapes, Tagging, Variant, WireShape};

macro_rules! scalars {
    ($($ty:ty => $scalar:ident,)*) => {$(
        impl WireShape for $ty {
            fn wire_shape(_: &mut Shapes) -> Node {
                Node::Scalar(Scalar::$scalar)
            }
        }
    )*};
}
scalars! {
    bool => Bool,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64, i128 => I128, isize => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64, u128 => U128, usize => U64,
    f32 => F32, f64 => F64,
    char => Char,
    str => Text, String => Text, Path => Text, PathBuf => Text,
}

macro_rules! non_zero {
    ($($integer:ty)*) => {$(
        impl WireShape for NonZero<$integer> {
            fn wire_shape(shapes: &mut Shapes) -> Node {
                <$integer>::wire_shape(shapes)
            }
        }
    )*};
}
non_zero!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

macro_rules! named_texts {
    ($($ty:ty => $name:literal,)*) => {$(
        impl WireShape for $ty {
            fn wire_shape(_: &mut Shapes) -> Node {
                Node::opaque($name)
            }
        }
    )*};
}
named_texts! {
    IpAddr => "ip-address", Ipv4Addr => "ipv4-address", Ipv6Addr => "ipv6-address",
    SocketAddr => "socket-address", SocketAddrV4 => "socket-address-v4",
    SocketAddrV6 => "socket-address-v6",
}

macro_rules! as_inner {
    ($($pointer:ty),* $(,)?) => {$(
        impl<T: WireShape + ?Sized> WireShape for $pointer {
            fn wire_shape(shapes: &mut Shapes) -> Node {
                T::wire_shape(shapes)
            }
        }
    )*};
}
as_inner!(Box<T>, Rc<T>, Arc<T>, RefCell<T>, Mutex<T>, RwLock<T>);

macro_rules! as_sized_inner {
    ($($wrapper:ty),* $(,)?) => {$(
        impl<T: WireShape> WireShape for $wrapper {
            fn wire_shape(shapes: &mut Shapes) -> Node {
                T::wire_shape(shapes)
            }
        }
    )*};
}
as_sized_inner!(Cell<T>, Reverse<T>, Wrapping<T>, Saturating<T>);

impl<T: WireShape + ToOwned + ?Sized> WireShape for Cow<'static, T> {
    fn wire_shape(shapes: &mut Shapes) -> Node {
        T::wire_shape(shapes)
    }
}

impl<T: WireShape> WireShape for Option<T> {
    fn wire_shape(shapes: &mut Shapes) -> Node {
        T::wire_shape(shapes).optional()
    }
}

macro_rules! lists {
    ($($list:ty),* $(,)?) => {$(
        impl<T: WireShape> WireShape for $list {
            fn wire_shape(shapes: &mut Shapes) -> Node {
                T::wire_shape(shapes).list()
            }
        }
    )*};
}
lists!(
    [T],
    Vec<T>,
    VecDeque<T>,
    LinkedList<T>,
    BinaryHeap<T>,
    BTreeSet<T>
);

impl<T: WireShape, S: 'static> WireShape for HashSet<T, S> {
    fn wire_shape(shapes: &mut Shapes) -> Node {
        T::wire_shape(shapes).list()
    }
}

impl<T: WireShape, const LENGTH: usize> WireShape for [T; LENGTH] {
    fn wire_shape(shapes: &mut Shapes) -> Node {
        Node::Array {
            length: LENGTH,
            item: Box::new(T::wire_shape(shapes)),
        }
    }
}

impl<K: WireShape, V: WireShape> WireShape for BTreeMap<K, V> {
    fn wire_shape(shapes: &mut Shapes) -> Node {
        let key = K::wire_shape(shapes);
        V::wire_shape(shapes).by(key)
    }
}

impl<K: WireShape, V: WireShape, S: 'static> WireShape for HashMap<K, V, S> {
    fn wire_shape(shapes: &mut Shapes) -> Node {
        BTreeMap::<K, V>::wire_shape(shapes)
    }
}

impl WireShape for () {
    fn wire_shape(_: &mut Shapes) -> Node {
        Node::Null
    }
}

impl<T: ?Sized + 'static> WireShape for PhantomData<T> {
    fn wire_shape(_: &mut Shapes) -> Node {
        Node::Null
    }
}

macro_rules! tuples {
    ($($($element:ident)+;)*) => {$(
        impl<$($element: WireShape),+> WireShape for ($($element,)+) {
            fn wire_shape(shapes: &mut Shapes) -> Node {
                Node::tuple([$($element::wire_shape(shapes)),+])
            }
        }
    )*};
}
tuples! {
    A; A B; A B C; A B C D; A B C D E; A B C D E F; A B C D E F G; A B C D E F G H;
    A B C D E F G H I; A B C D E F G H I J; A B C D E F G H I J K; A B C D E F G H I J K L;
}

macro_rules! ranges {
    ($($range:ty),*) => {$(
        impl<T: WireShape> WireShape for $range {
            fn wire_shape(shapes: &mut Shapes) -> Node {
                Node::object(["start", "end"].map(|name| Field::new(name, T::wire_shape(shapes))))
            }
        }
    )*};
}
ranges!(Range<T>, RangeInclusive<T>);

impl<T: WireShape, E: WireShape> WireShape for Result<T, E> {
    fn wire_shape(shapes: &mut Shapes) -> Node {
        Node::Choice(Choice {
            tagging: Tagging::External,
            variants: vec![
                Variant::new("Ok", T::wire_shape(shapes)),
                Variant::new("Err", E::wire_shape(shapes)),
            ],
            is_closed: false,
        })
    }
}

impl WireShape for Duration {
    fn wire_shape(_: &mut Shapes) -> Node {
        seconds_and_nanoseconds("secs", "nanos")
    }
}

impl WireShape for SystemTime {
    fn wire_shape(_: &mut Shapes) -> Node {
        seconds_and_nanoseconds("secs_since_epoch", "nanos_since_epoch")
    }
}

fn seconds_and_nanoseconds(seconds: &str, nanoseconds: &str) -> Node {
    Node::object([
        Field::new(seconds, Node::Scalar(Scalar::U64)),
        Field::new(nanoseconds, Node::Scalar(Scalar::U32)),
    ])
}
