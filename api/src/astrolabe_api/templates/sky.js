// The page /sky: pictures, coverage, footprints and images of this platform on one map.
// The map itself is Aladin Lite, loaded when the page is there; its own controls are not shown,
// since they have no names for those who hear a page.

const FOOTPRINTS_AT_ONCE = 1000;
const ID = /^[A-Za-z0-9_.-]{1,200}$/;

const byId = (id) => document.getElementById(id);
const say = (text) => { byId("sky-status").textContent = text; };
const asked = new URLSearchParams(location.search);

async function fetched(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) {
    throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  }
  return answer;
}

/** The records of a HiPS list: keys and values, with an empty line between records. */
function records(text) {
  return text.split(/\n\s*\n/).map((part) => Object.fromEntries(
    part.split("\n").filter((line) => line.includes("=")).map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  )).filter((record) => record.hips_service_url);
}

function idOf(record) {
  return decodeURIComponent(record.hips_service_url.split("/").pop());
}

/** Only what is on this platform is loaded, whatever an address of the page says. */
function ownAddress(text) {
  const address = new URL(text, location.origin);
  if (address.origin !== location.origin || !address.pathname.startsWith("/api/")) {
    throw new Error(`${text} is not an address of this platform below /api/.`);
  }
  return address.href;
}

/** Aladin asks a proxy elsewhere for what it cannot read here, so it is not given such images. */
async function checkImage(text) {
  const answer = await fetch(ownAddress(text), { method: "HEAD", credentials: "same-origin" });
  if (!answer.ok || answer.status === 204) {
    const reasons = { 204: "it holds nothing", 401: "log in", 403: "it is not for you" };
    throw new Error(`${text} cannot be shown: `
      + `${reasons[answer.status] ?? `${answer.status} ${answer.statusText}`}.`);
  }
}

function number(text, low, high) {
  const value = Number(text);
  return text !== null && text !== "" && value >= low && value <= high ? value : null;
}

async function query(adql) {
  const parameters = new URLSearchParams({ LANG: "ADQL", RESPONSEFORMAT: "json", QUERY: adql });
  const document = await (await fetched(`/api/tap/sync?${parameters}`)).json();
  const names = document.metadata.map((column) => column.name);
  return document.data.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));
}

function fill(select, values, chosen) {
  for (const [value, text] of values) {
    select.add(new Option(text, value, false, value === chosen));
  }
  if (chosen && select.value !== chosen) {
    select.value = "";
  }
}

class Sky {
  constructor(aladinLibrary, list) {
    this.A = aladinLibrary;
    this.list = list;
    this.overlay = null;
    this.moc = null;
    this.made = null;
    this.shownImage = "";
    this.imageLayer = false;
    this.failures = [];
    this.badImage = "";
  }

  /** Show what the form asks for; a thing that fails does not keep the others from being shown. */
  async show(problems = []) {
    const failures = [...problems];
    for (const step of [this.showPicture, this.showPlace, this.showCoverage, this.showImage,
      this.showFootprints]) {
      try {
        await step.call(this);
      } catch (error) {
        failures.push(error.message);
      }
    }
    this.failures = failures;
    say(this.told());
    document.body.dataset.sky = failures.length ? "failed" : "shown";
  }

  told() {
    const [ra, dec] = this.map.getRaDec();
    const fov = this.map.getFov()[0];
    const place = `Centre ${ra.toFixed(5)} ${dec.toFixed(5)}, field ${fov.toPrecision(3)} degrees.`;
    // The map also moves by itself, after what failed was said.
    return [...this.failures, place].join(" ");
  }

  /** Begin with a picture; the map cannot be without one, and would else fetch one elsewhere. */
  start(record) {
    const place = this.place(record);
    const text = byId("sky-fits").value.trim();
    const isBegun = !record && text && text !== this.badImage;
    let first = isBegun ? null : this.survey(record ?? this.list[0]);
    if (isBegun) {
      this.made = this.makeImage(text);
      this.shownImage = text;
      first = this.made.image;
    }
    this.map = this.A.aladin("#sky-map", {
      survey: first,
      hipsList: [],
      cooFrame: "ICRS",
      target: `${place.ra} ${place.dec}`,
      fov: place.fov,
      log: false,
      samp: false,
      showReticle: true,
      showFrame: false,
      showCooLocation: false,
      showFov: false,
      showZoomControl: false,
      showLayersControl: false,
      showSettingsControl: false,
      showShareControl: false,
      showSimbadPointerControl: false,
      showCooGridControl: false,
      showColorPickerControl: false,
      showProjectionControl: false,
      showFullscreenControl: false,
      showContextMenu: false,
      showStatusBar: false,
    });
    for (const canvas of document.querySelectorAll("#sky-map canvas")) {
      canvas.setAttribute("aria-hidden", "true");
    }
    this.shown = record ? idOf(record) : "";
    if (!record && !isBegun) {
      first.setOpacity(0);
    }
    let waiting = null;
    for (const event of ["positionChanged", "zoomChanged"]) {
      this.map.on(event, () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => say(this.told()), 300);
      });
    }
  }

  survey(record) {
    const formats = record.hips_tile_format.split(" ");
    const imgFormat = formats.includes("png") ? "png" : formats.includes("jpeg") ? "jpeg" : "fits";
    const address = ownAddress(new URL(record.hips_service_url).pathname);
    return this.A.imageHiPS(address, {
      imgFormat, name: record.obs_title, requestCredentials: "same-origin",
    });
  }

  place(record) {
    const [ra, dec] = (byId("sky-position").value || "").trim().split(/[\s,]+/);
    const initial = record || {};
    return {
      ra: number(ra, 0, 360) ?? number(initial.hips_initial_ra, 0, 360) ?? 0,
      dec: number(dec ?? "", -90, 90) ?? number(initial.hips_initial_dec, -90, 90) ?? 0,
      fov: number(byId("sky-fov").value, 1e-5, 360) ?? number(initial.hips_initial_fov, 0, 360)
        ?? 60,
    };
  }

  chosen() {
    return this.list.find((record) => idOf(record) === byId("sky-hips").value);
  }

  async showPicture() {
    const record = this.chosen();
    const id = record ? idOf(record) : "";
    if (id === this.shown) {
      return;
    }
    if (record) {
      this.map.setBaseImageLayer(this.survey(record));
    } else {
      this.map.getBaseImageLayer().setOpacity(0);
    }
    this.shown = id;
  }

  async showPlace() {
    const place = this.place(this.chosen());
    this.map.gotoRaDec(place.ra, place.dec);
    this.map.setFoV(place.fov);
    const position = byId("sky-position").value.trim();
    const [ra, dec, ...more] = position.split(/[\s,]+/);
    if (position && (more.length || number(ra, 0, 360) === null
      || number(dec ?? "", -90, 90) === null)) {
      throw new Error(`${position} is no position: give RA (0 to 360) and Dec (-90 to 90).`);
    }
    const fov = byId("sky-fov").value.trim();
    if (fov && number(fov, 1e-5, 360) === null) {
      throw new Error(`${fov} is no field: give its width in degrees, up to 360.`);
    }
  }

  async showCoverage() {
    if (this.moc) {
      this.map.removeMOC ? this.map.removeMOC(this.moc) : this.moc.hide();
      this.moc = null;
    }
    const table = byId("sky-moc").value;
    if (!table) {
      return;
    }
    const answer = await fetched(`/api/moc/${encodeURIComponent(table)}?RESPONSEFORMAT=json`);
    this.moc = this.A.MOCFromJSON(await answer.json(), {
      name: table, color: "#4fc3f7", opacity: 0.25, fill: true, edge: true, lineWidth: 2,
    });
    this.map.addMOC(this.moc);
  }

  /** An image, and a promise that it has been read. */
  makeImage(text) {
    const address = ownAddress(text);
    let image;
    const read = new Promise((resolve, reject) => {
      image = this.A.image(address, {
        name: "image",
        imgFormat: "fits",
        successCallback: (ra, dec, fov) => resolve({ ra, dec, fov }),
        errorCallback: () => reject(new Error(`${text} cannot be shown.`)),
      });
    });
    return { image, read };
  }

  async showImage() {
    const text = byId("sky-fits").value.trim();
    if (text !== this.shownImage) {
      this.shownImage = "";
      this.made = null;
      if (this.imageLayer) {
        this.map.removeImageLayer("image");
        this.imageLayer = false;
      }
      if (!text || text === this.badImage) {
        return;
      }
      await checkImage(text);
      this.shownImage = text;
      this.made = this.makeImage(text);
      this.map.setOverlayImageLayer(this.made.image, "image");
      this.imageLayer = true;
    }
    if (!this.made) {
      return;
    }
    const { ra, dec, fov } = await this.made.read;
    if (!byId("sky-position").value) {
      this.map.gotoRaDec(ra, dec);
      this.map.setFoV(1.5 * fov);
    }
  }

  async showFootprints() {
    this.overlay?.removeAll();
    const found = byId("sky-found");
    found.replaceChildren();
    byId("sky-found-title").hidden = true;
    const collection = byId("sky-footprints").value;
    if (!collection || !ID.test(collection)) {
      return;
    }
    const [ra, dec] = this.map.getRaDec();
    const radius = Math.min(Math.max(...this.map.getFov()) * 0.75, 90);
    const rows = await query(
      `SELECT TOP ${FOOTPRINTS_AT_ONCE + 1} obs_id, obs_publisher_did, access_url, s_region `
      + `FROM ivoa.ObsCore WHERE obs_collection = '${collection}' `
      + `AND 1 = INTERSECTS(s_region, CIRCLE(${ra}, ${dec}, ${radius}))`,
    );
    if (!this.overlay) {
      this.overlay = this.A.graphicOverlay({ name: "footprints", color: "#ffb300", lineWidth: 2 });
      this.map.addOverlay(this.overlay);
    }
    const title = byId("sky-found-title");
    title.hidden = false;
    title.textContent = !rows.length ? `No image of ${collection} in view`
      : rows.length > FOOTPRINTS_AT_ONCE
      ? `${FOOTPRINTS_AT_ONCE} of the images in view; choose a smaller field to see all`
      : `${rows.length} ${rows.length === 1 ? "image" : "images"} in view`;
    for (const row of rows.slice(0, FOOTPRINTS_AT_ONCE)) {
      const values = Array.isArray(row.s_region) ? row.s_region
        : String(row.s_region).trim().split(/\s+/).map(Number);
      const corners = [];
      for (let i = 0; i + 1 < values.length; i += 2) {
        corners.push([values[i], values[i + 1]]);
      }
      this.overlay.add(this.A.polygon(corners));
      const link = Object.assign(document.createElement("a"), {
        href: row.access_url,
        textContent: row.obs_publisher_did.split("?").slice(1).join("?"),
        title: row.obs_publisher_did,
      });
      const item = document.createElement("li");
      item.append(link);
      found.append(item);
    }
  }
}

/** An address of the chosen picture that programs can read without a login. */
async function makeLink(button) {
  const id = byId("sky-hips").value;
  byId("sky-link-made").hidden = true;
  if (!id) {
    say("Choose a picture of the sky first.");
    return;
  }
  const answer = await fetch(`/api/hips/${encodeURIComponent(id)}/link`, {
    method: "POST", credentials: "same-origin", headers: { "X-CSRF-Token": button.dataset.csrf },
  });
  const made = await answer.json();
  if (!answer.ok) {
    throw new Error(made.detail ?? answer.statusText);
  }
  const field = byId("sky-link-address");
  field.value = made.url;
  byId("sky-link-made").hidden = false;
  field.focus();
  field.select();
}

async function begin() {
  const link = byId("sky-link");
  link?.addEventListener("click", () => makeLink(link).catch((error) => say(error.message)));
  const form = byId("sky-form");
  byId("sky-position").value = asked.get("ra") && asked.get("dec")
    ? `${asked.get("ra")} ${asked.get("dec")}` : asked.get("position") ?? "";
  byId("sky-fov").value = asked.get("fov") ?? "";
  byId("sky-fits").value = asked.get("fits") ?? "";
  const list = records(await (await fetched("/api/hips/hipslist")).text());
  const wanted = asked.get("hips") ?? (asked.has("fits") || !list.length ? "" : idOf(list[0]));
  fill(byId("sky-hips"), list.map((r) => [idOf(r), r.obs_title]), wanted);
  const tables = list.map(idOf).filter((id) => id.includes("."));
  fill(byId("sky-moc"), tables.map((id) => [id, id]), asked.get("moc"));
  const { collections } = await (await fetched("/.well-known/astrolabe")).json();
  const names = [...new Set([
    ...collections.map((collection) => collection.name),
    ...list.filter((r) => !idOf(r).includes(".")).map((r) => r.obs_collection),
  ])];
  const footprints = asked.get("footprints");
  if (footprints && ID.test(footprints) && !names.includes(footprints)) {
    names.push(footprints);
  }
  fill(byId("sky-footprints"), names.map((name) => [name, name]), footprints);

  if (!list.length && !byId("sky-fits").value) {
    document.body.dataset.sky = "empty";
    say("There is nothing to show yet, or nothing for you: log in to see more.");
    return;
  }
  let library;
  try {
    library = (await import("/sky/aladin.js")).default;
  } catch {
    document.body.dataset.sky = "no-map";
    say("The map needs Aladin Lite, which is not installed here: run tools/fetch-aladin in the "
      + "checkout of the platform. The lists above work without it.");
    return;
  }
  await library.init;
  const sky = new Sky(library, list);
  const problems = ["hips", "moc", "footprints"].filter((name) => asked.get(name)
    && byId(`sky-${name}`).value !== asked.get(name)).map((name) =>
    `There is no ${asked.get(name)} here, or not for you.`);
  const image = byId("sky-fits").value.trim();
  if (image) {
    try {
      await checkImage(image);
    } catch (error) {
      if (!list.length) {
        throw error;
      }
      sky.badImage = image;
      problems.push(error.message);
    }
  }
  sky.start(sky.chosen());
  await sky.show(problems);
  sky.badImage = "";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = new URLSearchParams(new FormData(form));
    for (const [name, value] of [...values]) {
      if (!value) {
        values.delete(name);
      }
    }
    history.replaceState(null, "", `/sky?${values}`);
    await sky.show();
  });
  const zoom = (factor) => () => {
    sky.map.setFoV(Math.min(sky.map.getFov()[0] * factor, 180));
    say(sky.told());
  };
  byId("sky-closer").addEventListener("click", zoom(0.5));
  byId("sky-wider").addEventListener("click", zoom(2));
}

begin().catch((error) => {
  document.body.dataset.sky = "failed";
  say(error.message);
});
