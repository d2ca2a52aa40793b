//! Steps between versions that are written by hand.

use super::*;

#[domain_event(schema = "customer.moved", version = 2, superseded)]
#[derive(Debug)]
pub struct CustomerMovedV2 {
    #[event(since = 2, default = "DE")]
    pub country: String,
    pub address: String,
}

/// Version 3 splits the address by hand, version 4 adds a field.
#[domain_event(schema = "customer.moved", version = 4, upcast_from = CustomerMovedV2)]
#[derive(Debug, PartialEq)]
pub struct CustomerMoved {
    pub country: String,
    pub street: String,
    pub town: String,
    #[event(since = 4, default = false)]
    pub confirmed: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("an address without a comma")]
pub struct NoComma;

impl TryUpcastFrom<CustomerMovedV2> for CustomerMoved {
    type Error = NoComma;

    fn try_upcast_from(old: CustomerMovedV2) -> Result<Self, NoComma> {
        let (street, town) = old.address.split_once(", ").ok_or(NoComma)?;
        Ok(Self {
            country: old.country,
            street: street.into(),
            town: town.into(),
            confirmed: true,
        })
    }
}

fn moved(version: u32, payload: &str) -> Result<CustomerMoved, DecodeError> {
    codec::decode("customer.moved", version, payload.as_bytes())
}

#[test]
fn a_typed_step_runs_between_the_histories_of_both_versions() {
    let expected = |country: &str, confirmed| CustomerMoved {
        country: country.into(),
        street: "A 1".into(),
        town: "B".into(),
        confirmed,
    };
    assert_eq!(
        moved(1, r#"{"address":"A 1, B"}"#).unwrap(),
        expected("DE", true)
    );
    assert_eq!(
        moved(2, r#"{"address":"A 1, B","country":"AT"}"#).unwrap(),
        expected("AT", true)
    );
    assert_eq!(
        moved(3, r#"{"street":"A 1","town":"B","country":"AT"}"#).unwrap(),
        expected("AT", false)
    );
}

#[test]
fn an_upcaster_that_refuses_is_the_source_of_malformed() {
    let error = moved(2, r#"{"address":"nowhere","country":"AT"}"#).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<NoComma>(), "{error:?}");
}

#[test]
fn an_event_retires_what_its_earlier_version_retired() {
    #[domain_event(schema = "stock.counted", version = 2, oldest = 2, superseded)]
    #[derive(Debug)]
    struct StockCountedV2 {}

    #[domain_event(schema = "stock.counted", version = 3, upcast_from = StockCountedV2)]
    #[derive(Debug)]
    struct StockCounted {}

    impl UpcastFrom<StockCountedV2> for StockCounted {
        fn upcast_from(_: StockCountedV2) -> Self {
            Self {}
        }
    }

    assert_eq!(StockCounted::DESCRIPTOR.oldest, 2);
    let error = codec::decode::<StockCounted>("stock.counted", 1, b"{}").unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::Retired {
                version: 1,
                oldest: 2,
                ..
            }
        ),
        "{error:?}"
    );
}
