use bento_core::WireShape;

#[derive(WireShape)]
pub struct Order<'a> {
    pub note: &'a str,
}

fn main() {}
