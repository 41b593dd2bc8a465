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
    assert!(said.contains("mine.toml line 10, ok") && said.contains("gren"), "{said}");

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
