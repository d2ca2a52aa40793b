/// Reserves the stock of an order.
#[tracing::instrument]
pub async fn reserve(
    event: OrderConfirmed,
    tx: &OutboxTransaction,
    State(mut stock): State<Stock>,
) -> Result<(), HandleError> {
    stock.reserve(tx, event.order_id).await
}
/// The handler `reserve`, to be added to a set: `.add(reserve::handler())`.
#[allow(dead_code, missing_debug_implementations, non_camel_case_types)]
pub struct reserve {}
#[allow(dead_code, deprecated)]
impl reserve {
    /// Returns the handler, for an application whose state has what it takes.
    pub fn handler<__AppState>() -> ::bento_handlers::__private::Handler<__AppState>
    where
        State<Stock>: ::bento_handlers::__private::ProvidedBy<__AppState>,
    {
        static __BENTO_HANDLER: ::bento_handlers::__private::HandlerDescriptor = ::bento_handlers::__private::HandlerDescriptor {
            name: "stock.reserve",
            events: ::bento_handlers::__private::events::<OrderConfirmed>(false),
            patterns: &[],
            effect: ::bento_handlers::__private::the_one(
                ::bento_handlers::__private::one_more(
                    ::bento_handlers::__private::one_more(
                        ::bento_handlers::__private::one_more(
                            ::bento_handlers::__private::Effect::None,
                            <&OutboxTransaction as ::bento_handlers::__private::FromCall<
                                '_,
                            >>::EFFECT,
                            <OrderConfirmed as ::bento_handlers::__private::HandlerInput>::IS_BATCH,
                        ),
                        <State<
                            Stock,
                        > as ::bento_handlers::__private::FromCall<'_>>::EFFECT,
                        <OrderConfirmed as ::bento_handlers::__private::HandlerInput>::IS_BATCH,
                    ),
                    <Result<
                        (),
                        HandleError,
                    > as ::bento_handlers::__private::HandlerResult>::EFFECT,
                    <OrderConfirmed as ::bento_handlers::__private::HandlerInput>::IS_BATCH,
                ),
            ),
            is_batch: <OrderConfirmed as ::bento_handlers::__private::HandlerInput>::IS_BATCH,
            timeout: ::bento_handlers::__private::None,
            concurrency: ::bento_handlers::__private::None,
            retry: ::bento_handlers::__private::None,
            is_ordered: true,
            from: ::bento_handlers::__private::StartFrom::Now,
            declared: ::bento_handlers::__private::Declaration {
                module_path: ::bento_handlers::__private::module_path!(),
                package: "bento-macros",
                package_version: "1.2.3",
                file: ::bento_handlers::__private::file!(),
                line: ::bento_handlers::__private::line!(),
            },
            docs: "Reserves the stock of an order.",
            states: &[
                <&OutboxTransaction as ::bento_handlers::__private::FromCall<
                    '_,
                >>::required,
                <State<Stock> as ::bento_handlers::__private::FromCall<'_>>::required,
            ],
            run: |__bento_call| ::bento_handlers::__private::run(
                move || ::bento_handlers::__private::Ok(
                    reserve(
                        ::bento_handlers::__private::input::<
                            OrderConfirmed,
                        >(__bento_call)?,
                        <&OutboxTransaction as ::bento_handlers::__private::FromCall<
                            '_,
                        >>::from_call(__bento_call),
                        <State<
                            Stock,
                        > as ::bento_handlers::__private::FromCall<
                            '_,
                        >>::from_call(__bento_call),
                    ),
                ),
                |__bento_output| <Result<
                    (),
                    HandleError,
                > as ::bento_handlers::__private::HandlerResult>::finish(__bento_output),
            ),
        };
        ::bento_handlers::__private::inventory::submit! {
            ::bento_handlers::__private::HandlerRegistration(& __BENTO_HANDLER)
        }
        #[cfg(not(test))]
        #[unsafe(export_name = "bento__handler__stock__reserve__is_declared_twice")]
        static __BENTO_IS_DECLARED_TWICE: ::bento_handlers::__private::u8 = 0;
        ::bento_handlers::__private::Handler::new(
            &__BENTO_HANDLER,
            |__bento_state, __bento_provided| {
                <State<
                    Stock,
                > as ::bento_handlers::__private::ProvidedBy<
                    __AppState,
                >>::provide(__bento_state, __bento_provided);
            },
        )
    }
}
