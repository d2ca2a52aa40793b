/// Balances of all accounts.
#[derive(Debug)]
pub struct Balances;
#[allow(deprecated)]
const _: () = {
    static __BENTO_PROJECTION: ::bento_handlers::__private::ProjectionDescriptor = {
        #[allow(unused_imports)]
        use ::bento_handlers::__private::MissingProject as _;
        ::bento_handlers::__private::ProjectionDescriptor {
            name: "balances",
            version: 2u32,
            events: ::bento_handlers::__private::project::<
                Balances,
                _,
                _,
            >(Balances::project)
                .events(false),
            patterns: &[],
            views: &[],
            declared: ::bento_handlers::__private::Declaration {
                module_path: ::bento_handlers::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: ::bento_handlers::__private::file!(),
                line: ::bento_handlers::__private::line!(),
            },
            docs: "Balances of all accounts.",
            run: |__bento_projection, __bento_call| {
                ::bento_handlers::__private::project::<Balances, _, _>(Balances::project)
                    .run(__bento_projection, __bento_call)
            },
        }
    };
    #[automatically_derived]
    impl ::bento_handlers::__private::Projection for Balances {
        const DESCRIPTOR: &'static ::bento_handlers::__private::ProjectionDescriptor = &__BENTO_PROJECTION;
    }
    ::bento_handlers::__private::inventory::submit! {
        ::bento_handlers::__private::ProjectionRegistration { descriptor : &
        __BENTO_PROJECTION, unit : ::bento_handlers::__private::Some(||
        ::bento_handlers::__private::Arc::new(Balances {})), }
    }
    #[cfg(not(test))]
    #[unsafe(export_name = "bento__projection__balances__v2__is_declared_twice")]
    static __BENTO_IS_DECLARED_TWICE: ::bento_handlers::__private::u8 = 0;
};
