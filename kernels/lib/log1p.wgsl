// log(1 + v) for 0 <= v <= 1, also where v is too small to be seen in 1 + v, and where WGSL's log, near 1, is good to
// 2^-21 only. It is 2 atanh(s) with s = v / (2 + v), at most 1/3; the series to s^17 is good to 1e-10 of it there.
fn log1p(v: f32) -> f32 {
    let s = v / (2.0 + v);
    let s2 = s * s;
    var series = 1.0 / 17.0;
    series = series * s2 + 1.0 / 15.0;
    series = series * s2 + 1.0 / 13.0;
    series = series * s2 + 1.0 / 11.0;
    series = series * s2 + 1.0 / 9.0;
    series = series * s2 + 1.0 / 7.0;
    series = series * s2 + 1.0 / 5.0;
    series = series * s2 + 1.0 / 3.0;
    return 2.0 * s + 2.0 * s * s2 * series;
}
