// The picks in the widget "picked", and the faces that they mean. hyperlora_core/faces/picks.py reads them by the same
// rules; tests/web/picks.json has the cases that both are tested with.

const isShare = (value) => value !== null && 0 <= value && value <= 1;
const isPick = (pick) => Boolean(pick?.photo) && isShare(pick.x) && isShare(pick.y);

/** Picks out of a JSON list of {photo, x, y}; none if it cannot be read, about which the run has an error. */
export function parsePicks(text) {
    try {
        const picks = JSON.parse(text || "[]");
        return Array.isArray(picks) && picks.every(isPick) ? picks : [];
    } catch {
        return [];
    }
}

/**
 * The face that a pick means: of those whose boxes hold its place, the one whose middle is nearest. Other face models
 * may have made the pick, so that it lies a little beside the middle. Undefined if there is none on this photo.
 */
export function pickedFace(pick, photo) {
    if (pick.photo !== photo.photo) return undefined;
    const distance = (face) => Math.hypot((face.pick.x - pick.x) * photo.width, (face.pick.y - pick.y) * photo.height);
    const holds = ({ box: [left, top, right, bottom] }) =>
        left <= pick.x && pick.x <= right && top <= pick.y && pick.y <= bottom;
    return photo.faces.filter(holds).sort((a, b) => distance(a) - distance(b))[0];
}

/** The picks after a click on a face: it is picked alone on its photo, or unpicked; with several, beside the others. */
export function togglePick(picks, photo, face, several) {
    const onPhoto = picks.filter((pick) => pick.photo === photo.photo);
    const onFace = picks.filter((pick) => pickedFace(pick, photo) === face);
    const others = picks.filter((pick) => (several ? !onFace.includes(pick) : !onPhoto.includes(pick)));
    const unpicks = onFace.length && (several || onPhoto.length === 1);
    return unpicks ? others : [...others, face.pick];
}
