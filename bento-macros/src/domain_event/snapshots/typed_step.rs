#[derive(
    framework::__private::serde::Serialize,
    framework::__private::serde::Deserialize
)]
#[serde(crate = "framework::__private::serde")]
#[derive(Debug)]
pub struct OrderCreated {}
#[allow(deprecated)]
const _: () = {
    #[automatically_derived]
    impl framework::__private::DomainEvent for OrderCreated {
        const DESCRIPTOR: &'static framework::__private::EventDescriptor = &framework::__private::EventDescriptor {
            schema: "order.created",
            version: 2u32,
            rust_name: "OrderCreated",
            declared: framework::__private::Declaration {
                module_path: framework::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: framework::__private::file!(),
                line: framework::__private::line!(),
            },
            fields: &[],
            fingerprint: 3566072774286135069u64,
            oldest: framework::__private::oldest_through_typed_step::<OrderCreated>(),
            upcast_from: framework::__private::older_descriptor::<OrderCreated>(),
            ..framework::__private::EVENT
        };
        const SCHEMA: &'static framework::__private::str = "order.created";
        const VERSION: framework::__private::u32 = 2u32;
        fn decode_older(
            __bento_version: framework::__private::u32,
            __bento_payload: &[framework::__private::u8],
        ) -> framework::__private::Result<Self, framework::__private::UpcastFault> {
            framework::__private::decode_by_typed_step::<
                Self,
            >(__bento_version, __bento_payload)
        }
    }
    #[automatically_derived]
    impl framework::__private::Raisable for OrderCreated
    where
        for<'__bento> OrderCreated: framework::__private::DomainEvent,
    {}
    #[automatically_derived]
    impl framework::__private::TypedStep for OrderCreated
    where
        for<'__bento> OrderCreated: framework::__private::DomainEvent,
    {
        type Older = v1::OrderCreated;
    }
    const _: () = {
        framework::__private::check_typed_step::<OrderCreated>();
        framework::__private::assert!(
            framework::__private::typed_step_from:: < OrderCreated > () + 1 >= 2u32,
            "there is no way from version 1 to version 2: say what changed with `#[event(since = 2, …)]` or `removed(\"…\", since = 2)`, upcast by hand with `upcast_from = …`, or retire what is older with `oldest = 2`"
        );
    };
    framework::__private::inventory::submit! {
        framework::__private::EventRegistration::of:: < OrderCreated > ()
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__event__order__created__v2__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: framework::__private::u8 = 0;
};
