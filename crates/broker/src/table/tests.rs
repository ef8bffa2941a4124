use proptest::prelude::*;

use super::*;

/// One entry of every type, as bytes and as values.
fn one_of_each() -> (Vec<u8>, Table) {
    let entries: [(&[u8], Value); 17] = [
        (b"V", Value::Void),
        (b"t\x01", Value::Bool(true)),
        (b"b\xff", Value::I8(-1)),
        (b"B\xff", Value::U8(255)),
        (b"s\xff\xfe", Value::I16(-2)),
        (b"u\xff\xfe", Value::U16(65534)),
        (b"I\xff\xff\xff\xfd", Value::I32(-3)),
        (b"i\xff\xff\xff\xfd", Value::U32(4_294_967_293)),
        (b"l\xff\xff\xff\xff\xff\xff\xff\xfc", Value::I64(-4)),
        (b"f\x3f\xc0\x00\x00", Value::F32(1.5)),
        (b"d\xc0\x04\x00\x00\x00\x00\x00\x00", Value::F64(-2.5)),
        (
            b"D\x02\x00\x00\x01\x3a",
            Value::Decimal {
                scale: 2,
                value: 314,
            },
        ),
        (b"S\x00\x00\x00\x02hi", "hi".into()),
        (b"x\x00\x00\x00\x02\x00\xff", Value::Bytes([0, 255].into())),
        (b"T\x00\x00\x00\x00\x00\x00\x00\x07", Value::Timestamp(7)),
        (
            b"A\x00\x00\x00\x03t\x00V",
            Value::Array(vec![Value::Bool(false), Value::Void]),
        ),
        (
            b"F\x00\x00\x00\x03\x01kV",
            Table::from_iter([("k", Value::Void)]).into(),
        ),
    ];
    let mut bytes = Vec::new();
    let mut table = Table::new();
    for (n, (octets, value)) in entries.into_iter().enumerate() {
        bytes.extend_from_slice(&[1, b'a' + n as u8]);
        bytes.extend_from_slice(octets);
        table.insert(char::from(b'a' + n as u8).to_string(), value);
    }
    (bytes, table)
}

fn encoded(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    table.encode(&mut out);
    out
}

#[test]
fn every_type_has_its_octets() {
    let (bytes, table) = one_of_each();
    assert_eq!(Table::decode(&bytes).unwrap(), table);
    assert_eq!(encoded(&table)[4..], bytes);
    assert_eq!(
        Table::decode_prefixed(&encoded(&table)).unwrap(),
        (table, [].as_slice())
    );
}

#[test]
fn a_capital_l_is_a_long_too() {
    let table = Table::decode(b"\x01kL\0\0\0\0\0\0\0\x05").unwrap();
    assert_eq!(table.get("k"), Some(&Value::I64(5)));
}

#[test]
fn one_value_is_found_in_place() {
    let (bytes, table) = one_of_each();
    for (key, value) in table.iter() {
        let found = find(&bytes, key).unwrap().unwrap();
        assert_eq!(found.to_owned().as_ref(), Ok(value));
    }
    assert_eq!(find(&bytes, "nothing"), Ok(None));
    assert_eq!(
        find(b"\x01aV garbage", "a"),
        Ok(Some(ValueRef::Void)),
        "nothing behind it is read"
    );
    assert_eq!(find(b"\x01aV\x07", "b"), Err(TableError::Truncated));
}

#[test]
fn damaged_tables_are_refused() {
    let (bytes, _) = one_of_each();
    let whole: Vec<usize> = {
        let mut entries = Entries::new(&bytes);
        std::iter::from_fn(|| {
            let at = bytes.len() - entries.reader.rest().len();
            entries.next().map(|_| at)
        })
        .collect()
    };
    for cut in (0..bytes.len()).filter(|cut| !whole.contains(cut)) {
        assert_eq!(
            Table::decode(&bytes[..cut]),
            Err(TableError::Truncated),
            "cut at {cut}"
        );
    }
    let refused = |bytes: &[u8], error| {
        assert_eq!(Table::decode(bytes), Err(error));
        assert_eq!(check(bytes), Err(error));
    };
    refused(b"\x01k?", TableError::Type(b'?'));
    refused(b"\x01\xffV", TableError::Key);
    refused(b"\x01kS\xff\xff\xff\xff", TableError::Truncated);
    refused(b"\x01kA\x00\x00\x00\x01?", TableError::Type(b'?'));
    assert_eq!(
        Table::decode_prefixed(b"\0\0\0\x04\x01kV"),
        Err(TableError::Truncated)
    );
}

/// A table in a table and so on, `levels` tables in all; or arrays in one table.
fn nested(levels: u32, wrap: fn(Value) -> Value) -> Vec<u8> {
    let value = (1..levels).fold(Value::Void, |value, _| wrap(value));
    encoded(&Table::from_iter([("k", value)]))[4..].to_vec()
}

#[test]
fn nesting_ends_at_the_limit() {
    let table: fn(Value) -> Value = |value| Table::from_iter([("k", value)]).into();
    let array: fn(Value) -> Value = |value| Value::Array(vec![value]);
    for wrap in [table, array] {
        assert!(Table::decode(&nested(DEPTH_MAX, wrap)).is_ok());
        assert_eq!(
            Table::decode(&nested(DEPTH_MAX + 1, wrap)),
            Err(TableError::Depth)
        );
    }
    let bytes = nested(DEPTH_MAX + 1, array);
    let value = find(&bytes, "k").unwrap().unwrap();
    assert_eq!(value.to_owned(), Err(TableError::Depth));
}

#[test]
fn order_and_the_first_of_two_count() {
    let mut table = Table::decode(b"\x01at\x01\x01bV\x01at\x00").unwrap();
    assert_eq!(table.get("a"), Some(&Value::Bool(true)));
    table.insert("b", 1.into());
    table.insert("c", 2.into());
    table.insert_first("b", 3.into());
    assert_eq!(
        table.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        ["b", "a", "a", "c"]
    );
    assert_eq!(table.remove("a"), Some(Value::Bool(true)));
    assert_eq!(table.remove("a"), None);
    assert_eq!(table.len(), 2);
}

#[test]
fn values_print_as_in_rabbitmq() {
    let (_, table) = one_of_each();
    let texts: Vec<String> = table.iter().map(|(_, value)| value.text()).collect();
    let expected = [
        "undefined",
        "true",
        "-1",
        "255",
        "-2",
        "65534",
        "-3",
        "4294967293",
        "-4",
        "1.5",
        "-2.5",
        "{2,314}",
        "hi",
        "\0\u{fffd}",
        "7",
        "[{bool,false},{void,undefined}]",
        "[{<<\"k\">>,void,undefined}]",
    ];
    assert_eq!(texts, expected);
    let names = Value::Array(vec!["é\"".into(), Value::Bytes([1, 2].into()), "".into()]);
    assert_eq!(
        names.text(),
        r#"[{longstr,<<"é\""/utf8>>},{binary,<<1,2>>},{longstr,<<>>}]"#
    );
}

#[test]
fn numbers_are_the_same_in_any_width() {
    let check = |a: Value, b: Value, same| assert_eq!(a.equivalent(&b), same, "{a:?} {b:?}");
    check(Value::I8(5), Value::U32(5), true);
    check(Value::I64(5), Value::U16(6), false);
    check(Value::F32(0.5), Value::F64(0.5), true);
    check(Value::I32(1), Value::F64(1.0), false);
    check(Value::I32(1), Value::Timestamp(1), false);
    check("a".into(), "a".into(), true);
    check("a".into(), Value::Bytes(b"a".as_slice().into()), false);
}

fn any_value() -> impl Strategy<Value = Value> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<(u8, u32)>().prop_map(|(scale, value)| Value::Decimal { scale, value }),
        bytes().prop_map(|bytes| Value::String(bytes.into())),
        bytes().prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<u64>().prop_map(Value::Timestamp),
    ];
    leaf.prop_recursive(5, 40, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            any_table(inner).prop_map(Value::Table),
        ]
    })
}

fn any_table(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Table> {
    proptest::collection::vec((".{0,8}", value), 0..8).prop_map(Table::from_iter)
}

proptest! {
    #[test]
    fn any_table_comes_back(table in any_table(any_value())) {
        let bytes = encoded(&table);
        let (read, rest) = Table::decode_prefixed(&bytes).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(encoded(&read), bytes);
        prop_assert_eq!(read, table);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let decoded = Table::decode(&bytes);
        prop_assert_eq!(check(&bytes).err(), decoded.as_ref().err().copied());
        if decoded.is_ok() {
            prop_assert_eq!(find(&bytes, "no such key"), Ok(None));
        }
    }
}
