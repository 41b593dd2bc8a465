//! Small pictures out of characters.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', '-', '-', '=', '=', '#', '#'];

/// The newest points, scaled to their own maximum.
pub(super) fn spark(points: &[f64], width: usize, ascii: bool) -> String {
    let points = &points[points.len().saturating_sub(width)..];
    let max = points.iter().copied().filter(|point| point.is_finite()).fold(0.0, f64::max);
    let glyphs = if ascii { ASCII } else { BLOCKS };
    points
        .iter()
        .map(|point| {
            let level = if max > 0.0 { (point / max * 7.0).round().clamp(0.0, 7.0) as usize } else { 0 };
            glyphs[level]
        })
        .collect()
}

/// Filled and empty part of a bar.
pub(super) fn bar(share: f64, width: usize, ascii: bool) -> (String, String) {
    let filled = if share.is_finite() { (share.clamp(0.0, 1.0) * width as f64).round() as usize } else { 0 };
    let (full, empty) = if ascii { ("#", ".") } else { ("█", "░") };
    (full.repeat(filled), empty.repeat(width - filled))
}
