// Takes the login code out of the address, where a bookmark or a screenshot would keep it.
"use strict";
const code = decodeURIComponent(location.hash.slice(1));
if (code) {
  document.getElementById("link").value = code;
  history.replaceState(null, "", location.pathname);
}
