// Loads the data of units, 16 units of one layer per script, each script once. unit_data.py describes the format.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const BLOCK_UNITS = 16;
  const SCHEMA = 1;
  const AGAIN = "Draw the maps again: polyscan show RUN.";
  const entries = new Map(); // layer/block -> its script and the promise of its content

  // Each data script calls this; the block goes to the entry of that script.
  polyscan.deliver = function (block) {
    for (const entry of entries.values()) if (entry.script === document.currentScript) entry.take(block);
  };

  // Blocks of the network that `index` describes (the content of #unit-index); `root` is the way to the maps folder.
  polyscan.Blocks = class {
    constructor(index, root) {
      this.index = index;
      this.root = root;
      this.digits = Math.max(2, String(index.layers.length - 1).length);
    }

    address(layer, channel) {
      const folder = String(layer).padStart(this.digits, "0");
      return `${this.root}data/${folder}/${Math.floor(channel / BLOCK_UNITS)}.js`;
    }

    // A promise for the block with this channel of the layer at this place; if it fails, its error has a sentence.
    load(layer, channel) {
      const key = layer + "/" + Math.floor(channel / BLOCK_UNITS);
      if (!entries.has(key)) entries.set(key, this.request(key, this.address(layer, channel)));
      return entries.get(key).promise;
    }

    request(key, address) {
      const entry = { script: polyscan.element("script", { src: address }) };
      const file = address.slice(this.root.length);
      entry.promise = new Promise((resolve, reject) => {
        const refuse = (sentence) => reject(new Error(sentence));
        entry.take = (block) => {
          if (block.schema !== SCHEMA) refuse(`${file} was made by another version of polyscan than this page. ${AGAIN}`);
          else if (block.run !== this.index.run) refuse(`${file} belongs to another run than this page. ${AGAIN}`);
          else if (`${block.layer}/${block.block}` !== key) refuse(`${file} holds the data of other units. ${AGAIN}`);
          else resolve(block);
        };
        const missing = () => refuse(`${file} is missing or broken. Copy the whole folder, or draw the maps again: polyscan show RUN.`);
        entry.script.addEventListener("load", missing); // no effect after a delivery
        entry.script.addEventListener("error", missing);
      });
      document.head.append(entry.script);
      return entry;
    }
  };
})();
