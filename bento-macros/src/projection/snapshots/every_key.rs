struct Orders {
    currency: Currency,
}
#[allow(deprecated)]
const _: () = {
    static __BENTO_PROJECTION: framework::handlers::__private::ProjectionDescriptor = {
        #[allow(unused_imports)]
        use framework::handlers::__private::MissingProject as _;
        framework::handlers::__private::ProjectionDescriptor {
            name: "billing.orders",
            version: 1u32,
            events: framework::handlers::__private::project::<
                Orders,
                _,
                _,
            >(Orders::project)
                .events(true),
            patterns: framework::handlers::__private::Project::patterns(
                framework::handlers::__private::project::<Orders, _, _>(Orders::project),
                &["order.*", "invoice.paid"],
            ),
            views: &["open_order", "paid_order"],
            declared: framework::handlers::__private::Declaration {
                module_path: framework::handlers::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: framework::handlers::__private::file!(),
                line: framework::handlers::__private::line!(),
            },
            docs: "",
            run: |__bento_projection, __bento_call| {
                framework::handlers::__private::project::<Orders, _, _>(Orders::project)
                    .run(__bento_projection, __bento_call)
            },
        }
    };
    #[automatically_derived]
    impl framework::handlers::__private::Projection for Orders {
        const DESCRIPTOR: &'static framework::handlers::__private::ProjectionDescriptor = &__BENTO_PROJECTION;
    }
    framework::handlers::__private::inventory::submit! {
        framework::handlers::__private::ProjectionRegistration { descriptor : &
        __BENTO_PROJECTION, unit : framework::handlers::__private::None, }
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__projection__billing__orders__v1__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: framework::handlers::__private::u8 = 0;
};
