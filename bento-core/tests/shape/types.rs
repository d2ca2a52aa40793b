//! The shapes of types.

use super::*;

#[test]
fn types_of_the_standard_library_are_known() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct All {
        flag: bool,
        small: i8,
        size: usize,
        large: u128,
        ratio: f64,
        letter: char,
        text: String,
        borrowed: Cow<'static, str>,
        list: Vec<Option<i32>>,
        set: HashSet<u8>,
        map: HashMap<String, Vec<f32>>,
        fixed: [u8; 4],
        pair: (u8, String),
        not_zero: NonZeroU8,
        nothing: (),
        marker: PhantomData<u8>,
        wait: std::time::Duration,
        range: std::ops::Range<u8>,
        answer: Result<u8, String>,
    }
    check::<All>(expect![[r#"
        object
          answer: one of, by name
            Err: string
            Ok: u8
          borrowed: string
          fixed: array of 4 u8
          flag: bool
          large: u128
          letter: char
          list: list of optional i32
          map: map of string to list of f32
          marker: null
          not_zero: u8
          nothing: null
          pair: tuple
            - u8
            - string
          range: object
            end: u8
            start: u8
          ratio: f64
          set: list of u8
          size: u64
          small: i8
          text: string
          wait: object
            nanos: u32
            secs: u64
    "#]]);
    // Without serde's feature `rc`.
    assert_eq!(fingerprint::<Arc<str>>(), fingerprint::<String>());
    assert_eq!(fingerprint::<Rc<[u8]>>(), fingerprint::<Vec<u8>>());
}

#[test]
fn types_of_other_crates_are_known() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct All {
        event: EventId,
        id: uuid::Uuid,
        at: chrono::DateTime<chrono::Utc>,
        local: chrono::NaiveDateTime,
        day: chrono::NaiveDate,
        time: chrono::NaiveTime,
        any: serde_json::Value,
        object: serde_json::Map<String, serde_json::Value>,
        raw: Box<serde_json::value::RawValue>,
        bytes: bytes::Bytes,
    }
    check::<All>(expect![[r#"
        object
          any: json
          at: date-time
          bytes: bytes
          day: date
          event: uuid
          id: uuid
          local: local-date-time
          object: map of string to json
          raw: json
          time: time
    "#]]);
}

#[test]
fn structs_have_the_form_that_serde_gives_them() {
    #[derive(Serialize, Deserialize, WireShape)]
    struct Unit;
    #[derive(Serialize, Deserialize, WireShape)]
    struct Wrapper(u64);
    #[derive(Serialize, Deserialize, WireShape)]
    struct Point(i32, #[serde(skip)] u8, #[serde(default)] i32);
    #[derive(Serialize, Deserialize, WireShape)]
    struct Empty {}
    #[derive(Serialize, Deserialize, WireShape)]
    struct All {
        unit: Unit,
        wrapper: Wrapper,
        point: Point,
        empty: Empty,
        by_point: BTreeMap<u8, Point>,
    }
    check::<All>(expect![[r#"
        object
          by_point: map of u8 to tuple
            - i32
            - i32 (may be missing)
          empty: object
          point: tuple
            - i32
            - i32 (may be missing)
          unit: null
          wrapper: u64
    "#]]);
}

#[derive(Serialize, Deserialize, WireShape)]
struct Page<T, K: Ord> {
    items: BTreeMap<K, T>,
    next: Option<K>,
    #[serde(skip)]
    seen: PhantomData<T>,
}

#[test]
fn generic_types_are_known_by_their_arguments() {
    check::<Page<u8, String>>(expect![[r#"
        object
          items: map of string to u8
          next: optional string (may be missing)
    "#]]);
    check::<Page<Page<bool, u16>, u8>>(expect![[r#"
        object
          items: map of u8 to object
            items: map of u16 to bool
            next: optional u16 (may be missing)
          next: optional u8 (may be missing)
    "#]]);
}

trait Kind: 'static {
    type Key;
}
struct Orders;
impl Kind for Orders {
    type Key = u64;
}
#[derive(Serialize, Deserialize, WireShape)]
#[serde(bound = "K::Key: Serialize + DeserializeOwned")]
struct Keyed<K: Kind> {
    key: K::Key,
    kind: PhantomData<K>,
}

#[test]
fn a_type_of_a_parameter_needs_a_shape_and_the_parameter_none() {
    check::<Keyed<Orders>>(expect![[r#"
        object
          key: u64
          kind: null
    "#]]);
}

#[derive(Serialize, Deserialize, WireShape)]
struct Tree<T> {
    value: T,
    children: Vec<Tree<T>>,
}

#[derive(Serialize, Deserialize, WireShape)]
enum Expression {
    Number(f64),
    Sum(Vec<Expression>),
    Call(Box<Call>),
}
#[derive(Serialize, Deserialize, WireShape)]
struct Call {
    name: String,
    arguments: Vec<Expression>,
    comment: Tree<u8>,
}

#[derive(Serialize, Deserialize, WireShape)]
struct List(Option<Box<List>>);

#[test]
fn a_type_that_contains_itself_is_defined_once() {
    check::<Tree<String>>(expect![[r#"
        #0
        #0: object
          children: list of #0
          value: string
    "#]]);
    check::<Vec<Call>>(expect![[r#"
        list of #0
        #0: object
          arguments: list of #1
          comment: #2
          name: string
        #1: one of, by name
          Call: #0
          Number: f64
          Sum: list of #1
        #2: object
          children: list of #2
          value: u8
    "#]]);
    check::<List>(expect![[r#"
        #0
        #0: optional #0
    "#]]);
}

#[test]
fn ids_of_aggregates_have_shapes_too() {
    #[derive(Serialize, Deserialize, AggregateId, WireShape)]
    struct OrderId(u64);
    #[derive(Serialize, Deserialize, AggregateId, WireShape)]
    enum Country {
        Denmark,
        Sweden,
    }
    check::<(OrderId, Country)>(expect![[r#"
        tuple
          - u64
          - one of, by name
            Denmark
            Sweden
    "#]]);
}
