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
            oldest: 1u32,
            role: ::bento_core::__private::EventRole::Current,
            rust_name: "OrderCreated",
            declared: ::bento_core::__private::Declaration {
                module_path: ::bento_core::__private::module_path!(),
                package: ::bento_core::__private::or_unknown(
                    ::bento_core::__private::option_env!("CARGO_PKG_NAME"),
                ),
                package_version: ::bento_core::__private::or_unknown(
                    ::bento_core::__private::option_env!("CARGO_PKG_VERSION"),
                ),
                file: ::bento_core::__private::file!(),
                line: ::bento_core::__private::line!(),
            },
            docs: "",
            fields: &[
                ::bento_core::__private::FieldDescriptor {
                    name: "shownCurrency",
                    rust_type: "String",
                    docs: "",
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
                    history: &[
                        ::bento_core::__private::FieldChange::Added {
                            since: 3u32,
                        },
                    ],
                },
            ],
            removed: &[
                ::bento_core::__private::RemovedField {
                    name: "fax",
                    since: 3u32,
                },
            ],
            upcast_from: ::bento_core::__private::None,
            fingerprint: 858957246734459299u64,
            topic: ::bento_core::__private::Some("orders"),
            routing_key: ::bento_core::__private::Some("eu"),
            allow: &[],
        };
        fn decode_older(
            version: ::bento_core::__private::u32,
            payload: &[::bento_core::__private::u8],
        ) -> ::bento_core::__private::Result<
            Self,
            ::bento_core::__private::UpcastFault,
        > {
            const __BENTO_HISTORY: &[::bento_core::__private::Step] = &[
                ::bento_core::__private::Step {
                    to: 2u32,
                    removed: &[],
                    renamed: &[],
                    added: &[
                        ::bento_core::__private::Addition {
                            name: "curr",
                            default: || -> ::bento_core::__private::Result<
                                ::bento_core::__private::Box<
                                    ::bento_core::__private::RawValue,
                                >,
                                ::bento_core::__private::JsonError,
                            > {
                                let value: String = <String as ::bento_core::__private::FromText>::from_text(
                                    "USD",
                                );
                                ::bento_core::__private::raw_default(&value)
                            },
                        },
                    ],
                },
                ::bento_core::__private::Step {
                    to: 3u32,
                    removed: &["fax"],
                    renamed: &[("curr", "shownCurrency")],
                    added: &[
                        ::bento_core::__private::Addition {
                            name: "timeout",
                            default: || -> ::bento_core::__private::Result<
                                ::bento_core::__private::Box<
                                    ::bento_core::__private::RawValue,
                                >,
                                ::bento_core::__private::JsonError,
                            > {
                                #[derive(::bento_core::__private::serde::Serialize)]
                                #[serde(crate = "::bento_core::__private::serde")]
                                struct __BentoHolder {
                                    #[serde(with = "seconds")]
                                    timeout: Duration,
                                }
                                ::bento_core::__private::raw_default_within(
                                    &__BentoHolder { timeout: 60 },
                                )
                            },
                        },
                    ],
                },
            ];
            ::bento_core::__private::decode_by_history::<
                Self,
            >(__BENTO_HISTORY, version, payload)
        }
    }
    #[automatically_derived]
    impl ::bento_core::__private::Raisable for OrderCreated {}
    ::bento_core::__private::inventory::submit! {
        ::bento_core::__private::EventRegistration::of:: < OrderCreated > ()
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__event__order__created__v3__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: ::bento_core::__private::u8 = 0;
};
