// Names of units: which units there are, which unit a text names, and the sentence for a text that names no unit.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const MOST_LAYERS = 5;

  // A unit is [place of its layer, channel]; `index` is the content of #unit-index.
  polyscan.UnitNames = class {
    constructor(index) {
      this.layers = index.layers;
      this.channels = new Map();
    }

    name([place, channel]) {
      return `${this.layers[place].name}:${channel}`;
    }

    hash([place, channel]) {
      return `#${encodeURIComponent(this.layers[place].name)}:${channel}`;
    }

    // The scanned channels of the layer in rising order; null if all of them were scanned.
    scanned(place) {
      const packed = this.layers[place].channels;
      if (packed && !this.channels.has(place)) this.channels.set(place, Array.from(polyscan.unpacked(packed)));
      return packed ? this.channels.get(place) : null;
    }

    // The unit `step` scanned units further on in its layer, or null.
    neighbour([place, channel], step) {
      const channels = this.scanned(place);
      const index = channels ? channels.indexOf(channel) + step : channel + step;
      if (index < 0 || index >= (channels ? channels.length : this.layers[place].n_units)) return null;
      return [place, channels ? channels[index] : index];
    }

    // The part of an address after its #, decoded: `layer:unit`.
    asWritten(text) {
      const colon = text.lastIndexOf(":");
      try {
        return colon < 0 ? decodeURIComponent(text) : `${decodeURIComponent(text.slice(0, colon))}:${text.slice(colon + 1)}`;
      } catch {
        return text; // a per cent sign that encodes nothing
      }
    }

    // { unit } that the text names, or { fault }, the sentence that says why it names no unit.
    parse(text) {
      const colon = text.lastIndexOf(":");
      const layer = colon < 0 ? text : text.slice(0, colon);
      const place = this.place(layer);
      if (place < 0 && this.place(text) >= 0) return this.incomplete(text, this.place(text)); // a layer with a colon in its name
      if (place < 0) return { fault: `No layer is called “${layer}” in this network. ${this.near(layer)}` };
      const digits = colon < 0 ? "" : text.slice(colon + 1);
      if (!/^\d{1,9}$/.test(digits)) return this.incomplete(text, place);
      const channel = Number(digits);
      if (channel >= this.layers[place].n_units) return { fault: `${layer} has no unit ${channel}. ${this.holds(place)}` };
      const channels = this.scanned(place);
      if (channels && !channels.includes(channel)) return { fault: `${layer}:${channel} was not scanned in this run. ${this.holds(place)}` };
      return { unit: [place, channel] };
    }

    place(name) {
      return this.layers.findIndex((layer) => layer.name === name);
    }

    incomplete(text, place) {
      const channels = this.scanned(place);
      const first = channels && channels.length ? channels[0] : 0;
      return { fault: `“${text}” names no unit. ${this.holds(place)} Add one, as in ${this.name([place, first])}.` };
    }

    holds(place) {
      const { name, n_units: count } = this.layers[place];
      const channels = this.scanned(place);
      if (!count || (channels && !channels.length)) return `${name} holds no scanned unit.`;
      if (!channels) return `It holds units 0 to ${count - 1}.`;
      const [low, high] = [channels[0], channels[channels.length - 1]];
      return `${polyscan.countText(channels.length)} of its ${polyscan.countText(count)} units were scanned, between ${low} and ${high}.`;
    }

    near(text) {
      const lowered = text.toLowerCase();
      const similar = this.layers.filter((layer) => lowered && layer.name.toLowerCase().includes(lowered));
      const layers = similar.length ? similar : this.layers;
      const names = layers.slice(0, MOST_LAYERS).map((layer) => layer.name);
      const more = layers.length > MOST_LAYERS ? " and others" : "";
      return `${similar.length ? "Similar names" : "Its layers"}: ${names.join(", ")}${more}.`;
    }
  };
})();
