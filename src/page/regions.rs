//! Regions of a page that are told by selectors: those that the site has set, and those that its style sheets name.

use std::borrow::Cow;
use std::sync::Arc;

use lol_html::Selector;
use lol_html::html_content::EndTag;
use lol_html::send::{Element, ElementContentHandlers, Settings};

use super::article::{Handle, lock};
use super::ending::may_lack_end;
use super::marks::MarkRules;
use super::style::HostStyles;
use super::text::Region;

/// A handler for each selector. They stand behind the one that sees each element, so that a block which is a region of its
/// own has begun.
pub(super) fn handlers(
    settings: Settings<'static, 'static>,
    shared: &Handle,
    rules: &MarkRules,
) -> Settings<'static, 'static> {
    let (preserve, unsealed) = rules.sheets.as_deref().map(HostStyles::selectors).unwrap_or_default();
    let lists: [(Region, &[Selector]); 5] = [
        (Region::Root, &rules.roots),
        (Region::Skip, &rules.skip),
        (Region::Preserve, &rules.preserve),
        (Region::Preserve, preserve),
        (Region::Unsealed, unsealed),
    ];
    let mut settings = settings;
    for (region, selectors) in lists {
        for selector in selectors {
            let handlers = ElementContentHandlers::default().element(on_start(shared, region));
            settings = settings.append_element_content_handler((Cow::Owned(selector.clone()), handlers));
        }
    }
    settings
}

fn on_start(
    shared: &Handle,
    region: Region,
) -> impl FnMut(&mut Element<'_, '_>) -> lol_html::HandlerResult + Send + 'static {
    let shared = Arc::clone(shared);
    move |element: &mut Element<'_, '_>| {
        let (name, mut state) = (element.tag_name(), lock(&shared));
        // What is empty is no region, and in a page that cannot be read safely there are none.
        if !state.ambiguous
            && let Some(handlers) = element.end_tag_handlers()
        {
            let (shared, own) = (Arc::clone(&shared), name);
            handlers.push(Box::new(move |end: &mut EndTag<'_>| {
                let mut state = lock(&shared);
                state.pass(end.source_location().bytes().start);
                state.text.leave(region);
                let unmarked = matches!(region, Region::Skip | Region::Preserve);
                if unmarked && end.name() != own && !may_lack_end(&own) {
                    state.text.stop("misnested");
                }
                Ok(())
            }));
            state.text.enter(region);
        }
        Ok(())
    }
}
