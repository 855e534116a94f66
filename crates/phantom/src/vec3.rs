//! Three-vectors in patient (LPS) or heart space, in millimetres.

/// A point or direction, x y z.
pub type V3 = [f64; 3];

/// a + b * k
#[must_use]
pub fn add_scaled(a: V3, b: V3, k: f64) -> V3 {
    [a[0] + b[0] * k, a[1] + b[1] * k, a[2] + b[2] * k]
}

/// a - b
#[must_use]
pub fn sub(a: V3, b: V3) -> V3 {
    add_scaled(a, b, -1.0)
}

/// Scalar product.
#[must_use]
pub fn dot(a: V3, b: V3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Vector product, right-handed.
#[must_use]
pub fn cross(a: V3, b: V3) -> V3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Unit vector in the direction of `a`; the zero vector stays zero.
#[must_use]
pub fn unit(a: V3) -> V3 {
    let n = dot(a, a).sqrt();
    if n > 0.0 { [a[0] / n, a[1] / n, a[2] / n] } else { a }
}

/// `a` turned about the unit axis by an angle in radians (Rodrigues).
#[must_use]
pub fn rotate(a: V3, axis: V3, angle: f64) -> V3 {
    let (s, c) = angle.sin_cos();
    let x = cross(axis, a);
    let k = dot(axis, a) * (1.0 - c);
    [a[0] * c + x[0] * s + axis[0] * k, a[1] * c + x[1] * s + axis[1] * k, a[2] * c + x[2] * s + axis[2] * k]
}

/// The part of `a` perpendicular to the unit vector `n`, as a unit vector.
#[must_use]
pub fn perpendicular(a: V3, n: V3) -> V3 {
    unit(add_scaled(a, n, -dot(a, n)))
}
