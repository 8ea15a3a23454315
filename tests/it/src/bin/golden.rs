//! Records `tests/golden` anew from Apache RocketMQ's own programs. Run it as `scripts/golden`.

fn main() {
    it::jvm::prepare();
    it::record::all(&std::env::args().skip(1).collect::<Vec<_>>());
}
