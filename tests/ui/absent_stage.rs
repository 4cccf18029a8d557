use tower_reliability::ReliabilityStack;

fn main() {
    let stack = ReliabilityStack::builder().build().unwrap();
    stack.circuit_breaker();
}
