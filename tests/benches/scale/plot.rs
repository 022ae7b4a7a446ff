//! A plot of the growth. Both axes are logarithmic, so that costs in proportion to the containers are a straight
//! line.

use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::combinators::IntoLogRange as _,
    drawing::{DrawingAreaErrorKind, IntoDrawingArea as _},
    element::{Circle, PathElement},
    series::LineSeries,
    style::{Color as _, RGBColor, WHITE},
};

use crate::{Costs, Row};

/// The size of the whole picture.
const SIZE: (u32, u32) = (1080, 340);
const NETMON: RGBColor = RGBColor(31, 119, 180);
const NODE_EXPORTER: RGBColor = RGBColor(150, 150, 150);

type Figure = fn(&Costs) -> f64;

/// Draws all rows as SVG.
pub(crate) fn draw(rows: &[Row]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, and neither can charts with axes that are not empty.
    let drawn = chart(&mut text, rows);
    debug_assert!(drawn.is_ok(), "{drawn:?}");
    text
}

fn chart(text: &mut String, rows: &[Row]) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let figures: [(&str, f64, Figure); 3] = [
        ("CPU of a page, ms", 1.0, Costs::cpu),
        ("a page, ms", 1.0, |costs| costs.latency),
        ("resident memory, MB", 1.0, |costs| costs.memory_bytes / 1e6),
    ];
    for ((title, least, figure), area) in figures.into_iter().zip(area.split_evenly((1, 3))) {
        let lines = [
            ("netmon", NETMON, (|row: &Row| row.netmon) as fn(&Row) -> Costs),
            ("node exporter", NODE_EXPORTER, |row: &Row| row.node_exporter),
        ];
        let all = rows.iter().flat_map(|row| [row.netmon, row.node_exporter]);
        let most = all.map(|costs| figure(&costs)).fold(10.0 * least, f64::max) * 2.0;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(44)
            .build_cartesian_2d((8.0..1500.0).log_scale(), (least..most).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("containers")
            .x_label_formatter(&|it| format!("{it:.0}"))
            .light_line_style(WHITE)
            .draw()?;
        for (name, color, of) in lines {
            let points: Vec<_> = rows
                .iter()
                .map(|row| (row.containers as f64, figure(&of(row)).max(least)))
                .collect();
            chart
                .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, color.filled())))?;
        }
        // Rising lines leave this corner free.
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .draw()?;
    }
    area.present()
}
