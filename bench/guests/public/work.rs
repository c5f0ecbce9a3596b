//! Generic code, closures and traits, as a compiler meets them.

use std::collections::{BTreeMap, HashMap};

pub trait Shape {
    fn area(&self) -> f64;
}

pub struct Circle(pub f64);
pub struct Square(pub f64);

impl Shape for Circle {
    fn area(&self) -> f64 {
        3.0 * self.0 * self.0
    }
}

impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

pub fn total(shapes: &[Box<dyn Shape>]) -> f64 {
    shapes.iter().map(|shape| shape.area()).sum()
}

pub fn words(text: &str) -> BTreeMap<String, usize> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for word in text.split_whitespace().filter(|word| word.len() > 2) {
        *seen.entry(word).or_default() += 1;
    }
    seen.into_iter().map(|(word, count)| (word.to_lowercase(), count)).collect()
}

pub fn parse(text: &str) -> Result<Vec<i64>, std::num::ParseIntError> {
    text.split(',').map(|part| part.trim().parse::<i64>()).collect()
}
