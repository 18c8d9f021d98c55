//! Blobs out of blocks.

use super::super::stand_in::{Asked, Said};
use super::{State, wrong};

impl State {
    pub(super) fn block(&mut self, name: &str, asked: &Asked) -> Said {
        let Some(id) = asked.parameter("blockid").filter(|id| !id.is_empty()) else {
            return wrong(400, "InvalidQueryParameterValue", "blockid");
        };
        let blocks = self.blocks.entry(name.to_owned()).or_default();
        if blocks.keys().any(|known| known.len() != id.len()) {
            return wrong(400, "InvalidBlobOrBlock", "names of different lengths");
        }
        blocks.insert(id, asked.body.clone());
        Said::status(201)
    }

    pub(super) fn commit(&mut self, name: &str, asked: &Asked) -> Said {
        let list = String::from_utf8_lossy(&asked.body).into_owned();
        let new = self.blocks.get(name);
        let old = self.blobs.get(name).map(|blob| &blob.blocks);
        let mut blocks = Vec::new();
        for id in list.split("<Latest>").skip(1) {
            let id = id.split('<').next().unwrap_or_default();
            let committed = || {
                let mut old = old?.iter();
                old.find_map(|(known, content)| (known == id).then_some(content))
            };
            let Some(content) = new.and_then(|new| new.get(id)).or_else(committed) else {
                return wrong(400, "InvalidBlockList", id);
            };
            blocks.push((id.to_owned(), content.clone()));
        }
        self.put(name, blocks, asked)
    }

    pub(super) fn block_list(&self, name: &str) -> Said {
        let Some(blob) = self.blobs.get(name) else {
            return wrong(404, "BlobNotFound", name);
        };
        let mut xml = String::from("<?xml version=\"1.0\"?><BlockList><CommittedBlocks>");
        for (id, content) in blob.blocks.iter().filter(|(id, _)| !id.is_empty()) {
            let size = content.len().to_string();
            xml.extend([
                "<Block><Name>",
                id,
                "</Name><Size>",
                &size,
                "</Size></Block>",
            ]);
        }
        xml.push_str("</CommittedBlocks></BlockList>");
        blob.described(Said::status(200)).with(xml)
    }
}
