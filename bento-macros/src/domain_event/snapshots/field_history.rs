#[derive(Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderCreated {
    shown_currency: String,
    #[serde(with = "seconds")]
    timeout: Duration,
}
#[allow(deprecated)]
const _: () = {
    #[automatically_derived]
    impl ::bento_core::__private::DomainEvent for OrderCreated {
        const DESCRIPTOR: &'static ::bento_core::__private::EventDescriptor = &::bento_core::__private::EventDescriptor {
            schema: "order.created",
            version: 3u32,
            rust_name: "OrderCreated",
            declared: ::bento_core::__private::Declaration {
                module_path: ::bento_core::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            fields: &[
                ::bento_core::__private::FieldDescriptor {
                    name: "shownCurrency",
                    rust_type: "String",
                    docs: "",
                    is_flattened: false,
                    history: &[
                        ::bento_core::__private::FieldChange::Added {
                            since: 2u32,
                        },
                        ::bento_core::__private::FieldChange::Renamed {
                            since: 3u32,
                            from: "curr",
                        },
                    ],
                },
                ::bento_core::__private::FieldDescriptor {
                    name: "timeout",
                    rust_type: "Duration",
                    docs: "",
                    is_flattened: false,
                    history: &[
                        ::bento_core::__private::FieldChange::Added {
                            since: 3u32,
                        },
                    ],
                },
            ],
            fingerprint: 858957246734459299u64,
            removed: &[
                ::bento_core::__private::RemovedField {
                    name: "fax",
                    since: 3u32,
                },
            ],
            topic: ::bento_core::__private::Some("orders"),
            routing_key: ::bento_core::__private::Some("eu"),
            ..::bento_core::__private::EVENT
        };
        const HISTORY: &'static [::bento_core::__private::Step] = &[
            ::bento_core::__private::Step {
                to: 2u32,
                removed: &[],
                renamed: &[],
                added: &[
                    {
                        ::bento_core::__private::Addition {
                            name: "curr",
                            default: || -> ::bento_core::__private::Result<
                                ::bento_core::__private::Box<
                                    ::bento_core::__private::RawValue,
                                >,
                                ::bento_core::__private::JsonError,
                            > {
                                let __bento_default: String = <String as ::bento_core::__private::FromText>::from_text(
                                    "USD",
                                );
                                ::bento_core::__private::raw_default(&__bento_default)
                            },
                            reads: ::bento_core::__private::reads::<String>,
                        }
                    },
                ],
            },
            ::bento_core::__private::Step {
                to: 3u32,
                removed: &["fax"],
                renamed: &[("curr", "shownCurrency")],
                added: &[
                    {
                        #[derive(
                            ::bento_core::__private::serde::Serialize,
                            ::bento_core::__private::serde::Deserialize
                        )]
                        #[serde(crate = "::bento_core::__private::serde")]
                        #[allow(dead_code)]
                        struct __BentoHolder {
                            #[serde(with = "seconds")]
                            timeout: Duration,
                        }
                        ::bento_core::__private::Addition {
                            name: "timeout",
                            default: || -> ::bento_core::__private::Result<
                                ::bento_core::__private::Box<
                                    ::bento_core::__private::RawValue,
                                >,
                                ::bento_core::__private::JsonError,
                            > {
                                ::bento_core::__private::raw_default_within(
                                    &__BentoHolder { timeout: 60 },
                                )
                            },
                            reads: |__bento_default| ::bento_core::__private::reads_within::<
                                __BentoHolder,
                            >("timeout", __bento_default),
                        }
                    },
                ],
            },
        ];
        fn decode_older(
            __bento_version: ::bento_core::__private::u32,
            __bento_payload: &[::bento_core::__private::u8],
        ) -> ::bento_core::__private::Result<
            Self,
            ::bento_core::__private::UpcastFault,
        > {
            ::bento_core::__private::decode_by_history::<
                Self,
            >(__bento_version, __bento_payload)
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::Raisable for OrderCreated
    where
        for<'__bento> OrderCreated: ::bento_core::__private::DomainEvent,
    {}
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::EventRegistration::of:: < OrderCreated > ()
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__event__order__created__v3__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: ::bento_core::__private::u8 = 0;
};
