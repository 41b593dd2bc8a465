use super::*;

#[test]
fn shipped_themes_are_whole() {
    for (name, text) in BUILT_IN {
        let (theme, problems) = Theme::parse(name, text);
        assert_eq!(problems, [], "{name}");
        assert_eq!(theme.name, name);
        assert_eq!(theme.styles.len(), Role::ALL.len());
    }
}

#[test]
fn a_broken_theme_names_line_and_field_and_falls_back() {
    let text = BUILT_IN[0].1.replace("ok          = \"#56d364\"", "ok          = \"gren\"");
    let (theme, problems) = Theme::parse("mine.toml", &text);
    assert_eq!(theme.style(Role::Ok), Theme::default().style(Role::Ok));
    assert_eq!(theme.style(Role::Bad), Theme::default().style(Role::Bad));
    let said = problems[0].to_string();
    assert!(said.contains("mine.toml line 12, ok") && said.contains("gren"), "{said}");

    let (theme, problems) = Theme::parse("cut.toml", "name = \"x\"\n[roles]\nok = \n");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].line, Some(3));
    assert_eq!(theme.style(Role::Bad), Theme::default().style(Role::Bad));
}

#[test]
fn few_colours_are_used_as_they_are() {
    let indexed = Theme::default().fit(Palette::Indexed);
    assert!(Role::ALL.iter().all(|role| !matches!(indexed.style(*role).fg, Some(Color::Rgb(..)))));
    let none = Theme::default().fit(Palette::None);
    assert!(Role::ALL.iter().all(|role| none.style(*role).fg.is_none() && none.style(*role).bg.is_none()));
}

/// As WCAG 2 defines it, from 1 to 21.
fn contrast(a: Color, b: Color) -> f64 {
    let light = |color: Color| {
        let Color::Rgb(r, g, b) = color else { panic!("{color:?} is no colour of a theme") };
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
    };
    let (a, b) = (light(a), light(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn every_text_can_be_read_on_every_ground() {
    use Role::{Accent, Added, Bad, Header, Key, Muted, Ok, Removed, Stale, Text, Title, Unknown, Warn};
    let texts = [Text, Muted, Accent, Title, Header, Ok, Warn, Bad, Unknown, Stale, Key, Added, Removed];
    for (name, _) in BUILT_IN.iter().filter(|(name, _)| *name != "mono") {
        let theme = built_in(name).unwrap();
        let (selection, bar, danger) =
            (theme.style(Role::Selection), theme.style(Role::Bar), theme.style(Role::Danger));
        for role in texts {
            let ink = theme.style(role).fg.unwrap();
            let selected = selection.fg.unwrap_or(ink);
            for (ground, ink, least) in [(theme.paper, ink, 4.5), (selection.bg, selected, 3.0), (bar.bg, ink, 3.0)] {
                let contrast = contrast(ink, ground.unwrap());
                assert!(contrast >= least, "{name}: {} on {ground:?}: {contrast:.2}", role.name());
            }
        }
        assert!(contrast(danger.fg.unwrap(), danger.bg.unwrap()) >= 4.5, "{name}: danger");
    }
}

#[test]
fn themes_follow_one_another_and_come_round() {
    let mut name = "dark";
    for _ in 0..BUILT_IN.len() {
        name = after(name);
        assert!(built_in(name).is_some(), "{name}");
    }
    assert_eq!(name, "dark");
    assert_eq!(after("mine.toml"), "dark");
}
