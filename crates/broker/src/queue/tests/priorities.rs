//! Higher priorities first.

use super::*;

#[test]
fn classic_priorities_are_clamped_and_strict() {
    check(
        Settings {
            priority_max: Some(5),
            ..classic()
        },
        "publish a
         publish b p1
         publish c p9
         publish d p5
         publish e p0
         get => got c left 4
         get => got d left 3
         nack c
         get => got c* left 3
         get => got b left 2
         get => got a left 1
         get => got e left 0",
    );
}

#[test]
fn without_a_maximum_classic_queues_ignore_priorities() {
    check(
        classic(),
        "publish a p1
         publish b p9
         get => got a left 1",
    );
}

#[test]
fn quorum_priorities_have_32_levels_and_4_for_none() {
    check(
        quorum(),
        "publish a p4
         publish b
         publish c p3
         publish d p5
         publish e p31
         publish f p255
         get => got e left 5
         get => got f left 4
         get => got d left 3
         get => got a left 2
         get => got b left 1
         get => got c left 0",
    );
}

#[test]
fn quorum_returns_go_first_and_in_the_order_they_come_back() {
    check(
        quorum(),
        "publish a
         publish b
         publish c
         get => got a left 2
         get => got b left 1
         nack b
         nack a
         publish d p31
         get => got b*0/1 left 3
         get => got a*0/1 left 2
         get => got d left 1
         nack a
         get => got a*0/2 left 1",
    );
}

#[test]
fn recovered_returns_go_first_too() {
    check(
        quorum(),
        "recover a 1
         recover b 2 x3
         get => got b*3/3 left 1",
    );
}
